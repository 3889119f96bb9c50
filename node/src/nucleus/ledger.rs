//! [`Ledger`]: the one place where commands become the grid's state.
//!
//! A command is decided against the state, its changes are stored and made durable, and only then does anybody see
//! them. Commands that arrive together are stored together. A group of voters will stand behind the same interface.

use orbit_core::grid::{Change, Command, GridState, Refusal};
use orbit_store::{JobsDb, MeteringRow, StoreError};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Commands that wait for the disk. Whoever sends more waits.
const WAITING_MAX: usize = 1024;
/// Commands stored in one transaction.
const BATCH_MAX: usize = 256;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be stored; nothing changed.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// It has no thread to write.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The ledger was closed.
    #[error("the node is shutting down")]
    Closed,
}

/// What a command changed.
pub type Outcome = Result<Vec<Change>, LedgerError>;

enum Entry {
    Command(Box<Command>, oneshot::Sender<Outcome>),
    Metering(Vec<MeteringRow>),
}

/// The grid's state and the way to change it.
#[derive(Debug)]
pub struct Ledger {
    state: Arc<RwLock<GridState>>,
    entries: Option<SyncSender<Entry>>,
    writer: Option<JoinHandle<()>>,
    metering: Vec<MeteringRow>,
}

impl Ledger {
    /// Opens the grid's records in `jobs.db`; an empty state if there are none.
    pub fn open(jobs_db: &Path) -> Result<Self, LedgerError> {
        let jobs = JobsDb::open(jobs_db).map_err(stored)?;
        let state = Arc::new(RwLock::new(jobs.load_grid().map_err(stored)?));
        let metering = jobs.all_metering().map_err(stored)?;
        let (entries, waiting) = sync_channel(WAITING_MAX);
        let writer = Writer { jobs, working: read(&state).clone(), published: Arc::clone(&state) };
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(LedgerError::Thread)?;
        Ok(Self { state, entries: Some(entries), writer: Some(writer), metering })
    }

    /// Forgets all records of a grid in `jobs.db`, which must not be open as a ledger.
    pub fn forget(jobs_db: &Path) -> Result<(), LedgerError> {
        JobsDb::open(jobs_db).and_then(|mut jobs| jobs.forget_grid()).map_err(stored)
    }

    /// Looks at the committed state. Short: commits wait meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&GridState) -> T) -> T {
        look(&read(&self.state))
    }

    /// Carries out a command. Cancel-safe in that a command once sent is carried out whether or not anybody waits.
    pub async fn execute(&self, command: Command) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let entries = self.entries.clone().ok_or(LedgerError::Closed)?;
        let mut entry = Entry::Command(Box::new(command), answer);
        // The queue is full only while the disk stalls: look again instead of holding up the runtime.
        while let Err(refused) = entries.try_send(entry) {
            match refused {
                std::sync::mpsc::TrySendError::Full(back) => entry = back,
                std::sync::mpsc::TrySendError::Disconnected(_) => return Err(LedgerError::Closed),
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        answered.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// [`execute`](Self::execute) for callers that may block.
    pub fn execute_blocking(&self, command: Command) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let entries = self.entries.as_ref().ok_or(LedgerError::Closed)?;
        entries.send(Entry::Command(Box::new(command), answer)).map_err(|_| LedgerError::Closed)?;
        answered.blocking_recv().unwrap_or(Err(LedgerError::Closed))
    }

    /// The stars' counters as they were kept when the ledger was opened.
    pub fn metering(&self) -> &[MeteringRow] {
        &self.metering
    }

    /// Keeps the stars' counters, some time soon. Dropped when the disk cannot keep up: the next ones say all that
    /// these do.
    pub fn add_metering(&self, rows: Vec<MeteringRow>) {
        if let Some(entries) = &self.entries
            && entries.try_send(Entry::Metering(rows)).is_err()
        {
            tracing::debug!("metering was left out: the disk is busy");
        }
    }
}

/// Lets the writer finish what was sent.
impl Drop for Ledger {
    fn drop(&mut self) {
        drop(self.entries.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the ledger's thread panicked");
        }
    }
}

struct Writer {
    jobs: JobsDb,
    /// The state with changes that are not durable yet.
    working: GridState,
    published: Arc<RwLock<GridState>>,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Entry>) {
        while let Ok(first) = waiting.recv() {
            let rest = std::iter::from_fn(|| waiting.try_recv().ok()).take(BATCH_MAX - 1);
            let batch: Vec<Entry> = std::iter::once(first).chain(rest).collect();
            self.commit(batch);
        }
    }

    fn commit(&mut self, batch: Vec<Entry>) {
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        for entry in batch {
            match entry {
                Entry::Metering(rows) => {
                    if let Err(error) = self.jobs.put_metering(&rows) {
                        tracing::warn!(
                            error = crate::standalone::error::chain(&error),
                            "cannot keep metering"
                        );
                    }
                }
                Entry::Command(command, answer) => match self.working.decide(&command) {
                    Ok(decided) => {
                        for change in &decided {
                            self.working.absorb(change.clone());
                        }
                        changes.extend_from_slice(&decided);
                        answers.push((answer, Ok(decided)));
                    }
                    // It may rest on a change before it in this batch, so it is told when that one is durable.
                    Err(refusal) => answers.push((answer, Err(refusal))),
                },
            }
        }
        let stored = if changes.is_empty() { Ok(()) } else { self.jobs.store_changes(&changes) };
        match stored {
            Ok(()) => {
                let mut published = self.published.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                for change in changes {
                    published.absorb(change);
                }
                drop(published);
                for (answer, decided) in answers {
                    // Whoever asked may have gone: the command is carried out all the same.
                    let _ = answer.send(decided.map_err(LedgerError::from));
                }
            }
            Err(error) => {
                // Nothing of the batch was stored: go back to what everybody sees.
                self.working = read(&self.published).clone();
                let error = Arc::new(error);
                for (answer, _) in answers {
                    let _ = answer.send(Err(LedgerError::Store(Arc::clone(&error))));
                }
            }
        }
    }
}

fn stored(error: StoreError) -> LedgerError {
    LedgerError::Store(Arc::new(error))
}

fn read(state: &RwLock<GridState>) -> std::sync::RwLockReadGuard<'_, GridState> {
    state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}
