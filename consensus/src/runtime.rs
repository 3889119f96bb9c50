//! [`Runtime`]: how openraft spawns, sleeps and waits; and [`Scope`], which ends all tasks of one group together.

use openraft::AsyncRuntime;
use openraft::async_runtime::AsyncOneshotSendExt;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// openraft gives an append the heartbeat interval to be answered. A disk or a line may need longer than that without
/// anybody being dead, and giving up early would send the same entries again and again.
const CALL_PATIENCE_MIN: Duration = Duration::from_secs(2);
/// Ended tasks are forgotten when there are so many handles.
const HANDLES_SWEPT_AT: usize = 256;

tokio::task_local! {
    static SCOPE: Scope;
}

/// The tasks of one group. Whatever is spawned within it belongs to it, and [`end`](Self::end) stops all of it.
#[derive(Clone)]
pub struct Scope {
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
    is_inline: bool,
}

impl Scope {
    /// A scope without tasks. `is_inline` does file work where it is asked for instead of on threads of its own, so that
    /// a simulation plays the same way twice.
    pub fn new(is_inline: bool) -> Self {
        Self { tasks: Arc::default(), is_inline }
    }

    /// Runs a future whose tasks belong to this scope.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        SCOPE.scope(self.clone(), future).await
    }

    /// Spawns a task that belongs to it, as do those that it spawns.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = tokio::spawn(SCOPE.scope(self.clone(), future));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= HANDLES_SWEPT_AT {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle.abort_handle());
        handle
    }

    /// Stops every task wherever it waits. What a thread is doing for one of them is done to its end.
    pub fn end(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    /// Does work that blocks on files, without holding up the runtime.
    pub(crate) async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_inline {
            return Some(work());
        }
        tokio::task::spawn_blocking(work).await.ok()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("is_inline", &self.is_inline).finish_non_exhaustive()
    }
}

/// tokio, with tasks that belong to their [`Scope`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Runtime;

impl AsyncRuntime for Runtime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: Send + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = Instant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + Send> = tokio::time::Timeout<T>;
    type ThreadLocalRng = rand::rngs::ThreadRng;
    type OneshotSender<T: Send> = Sender<T>;
    type OneshotReceiver<T: Send> = oneshot::Receiver<T>;
    type OneshotReceiverError = oneshot::error::RecvError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        match SCOPE.try_with(Scope::clone) {
            Ok(scope) => scope.spawn(future),
            Err(_) => tokio::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        tokio::time::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        tokio::time::timeout(duration.max(CALL_PATIENCE_MIN), future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        tokio::time::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    /// Draws openraft's election timeout, which is not used: elections are ours.
    fn thread_rng() -> Self::ThreadLocalRng {
        rand::thread_rng()
    }

    fn oneshot<T: Send>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), receiver)
    }
}

/// tokio's, with the debug output that openraft asks for.
pub struct Sender<T>(oneshot::Sender<T>);

impl<T: Send> AsyncOneshotSendExt<T> for Sender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}
