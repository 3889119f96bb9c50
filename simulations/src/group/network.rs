//! [`Network`]: the lines between hosts: late, lossy, repeating, cut one way or both; and [`SimTransport`], the port over it.

use super::host::Handle;
use super::life::Life;
use super::trace::{Fold, Trace};
use crate::random::Random;
use futures::future::{BoxFuture, FutureExt};
use orbit_consensus::transport::{Transport, Unreachable};
use orbit_core::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

/// Where a host is in the world; clients are behind the hosts.
pub type Place = usize;

/// How bad all lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Messages of a thousand that are lost.
    pub lost: usize,
    /// Messages of a thousand that come twice.
    pub twice: usize,
    /// Most a message takes, microseconds.
    pub late_us: usize,
    /// Messages of a thousand that take ten times as long, so that others overtake them.
    pub overtaken: usize,
}

impl Weather {
    /// A local network on a good day.
    pub const CALM: Self = Self { lost: 0, twice: 0, late_us: 600, overtaken: 0 };
}

/// What connects the hosts.
#[derive(Debug)]
pub struct Network {
    trace: Arc<Trace>,
    random: Random,
    names: Vec<String>,
    places: BTreeMap<NodeId, Place>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// Ways that carry nothing.
    cut: BTreeSet<(Place, Place)>,
    /// Ways that take longer.
    slow: BTreeMap<(Place, Place), Duration>,
    /// Hosts that neither send nor receive until then.
    stalled: BTreeMap<Place, Instant>,
    up: BTreeMap<Place, Handle>,
    messages: u64,
}

/// What happens to a message on its way.
#[derive(Clone, Copy)]
struct Way {
    late: Duration,
    is_lost: bool,
}

impl Network {
    /// A network of these hosts.
    pub fn new(trace: &Arc<Trace>, random: Random, hosts: &[(String, NodeId)]) -> Arc<Self> {
        let state = State {
            weather: Weather::CALM,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            stalled: BTreeMap::new(),
            up: BTreeMap::new(),
            messages: 0,
        };
        Arc::new(Self {
            trace: trace.clone(),
            random,
            names: hosts.iter().map(|(name, _)| name.clone()).collect(),
            places: hosts.iter().enumerate().map(|(place, (_, id))| (*id, place)).collect(),
            state: Mutex::new(state),
        })
    }

    /// Where a node is.
    pub fn place(&self, node: NodeId) -> Option<Place> {
        self.places.get(&node).copied()
    }

    /// Messages that were sent so far.
    pub fn messages(&self) -> u64 {
        self.state().messages
    }

    /// A host's process answers from now on.
    pub fn attach(&self, place: Place, handle: Handle) {
        self.state().up.insert(place, handle);
    }

    /// It does not any more.
    pub fn detach(&self, place: Place) {
        self.state().up.remove(&place);
    }

    /// How bad all lines are from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Cuts these ways.
    pub fn cut(&self, ways: impl IntoIterator<Item = (Place, Place)>) {
        self.state().cut.extend(ways);
    }

    /// Makes a way slower.
    pub fn slow(&self, way: (Place, Place), by: Duration) {
        self.state().slow.insert(way, by);
    }

    /// A host hears and says nothing for a while; then everything comes at once.
    pub fn stall(&self, place: Place, until: Instant) {
        self.state().stalled.insert(place, until);
    }

    /// Mends cut and slow lines.
    pub fn mend(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.slow.clear();
        state.stalled.clear();
    }

    fn up(&self, place: Place) -> Option<Handle> {
        self.state().up.get(&place).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of a message, and of a second copy of it if there is one.
    fn ways(&self, from: Place, to: Place) -> (Way, Option<Way>) {
        let mut state = self.state();
        state.messages += 1;
        let weather = state.weather;
        let random = &self.random;
        let of_thousand = |share: usize| share > 0 && random.below(1000) < share;
        let slow = state.slow.get(&(from, to)).copied().unwrap_or_default();
        let is_cut = state.cut.contains(&(from, to));
        let way = || {
            let times = if of_thousand(weather.overtaken) { 10 } else { 1 };
            let late = Duration::from_micros((50 + random.below(weather.late_us)) as u64) * times + slow;
            Way { late, is_lost: is_cut || of_thousand(weather.lost) }
        };
        let first = way();
        // What a client sends is repeated by the client alone: two answers to one question would contradict each other.
        let second = (from < self.names.len() && of_thousand(weather.twice)).then(way);
        (first, second)
    }

    /// Travels. False: it is lost.
    async fn travel(&self, from: Place, to: Place, way: Way) -> bool {
        sleep(way.late).await;
        for place in [from, to] {
            let stalled = self.state().stalled.get(&place).copied();
            if let Some(until) = stalled {
                sleep_until(until).await;
            }
        }
        !way.is_lost && !self.state().cut.contains(&(from, to))
    }

    /// Carries one message that wants no answer, without repeating it. False: it is lost.
    pub async fn carry(&self, from: Place, to: Place) -> bool {
        let (way, _) = self.ways(from, to);
        self.travel(from, to, way).await
    }

    /// Has a host work on something that was sent to it, and brings the result back. None: something was lost on the
    /// way, or the host died over it.
    pub async fn visit<T, F, W>(self: Arc<Self>, from: Place, to: Place, work: W) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        W: Fn(Handle) -> F + Clone + Send + 'static,
    {
        let (first, second) = self.ways(from, to);
        if let Some(second) = second {
            let (network, work) = (self.clone(), work.clone());
            // The copy is worked on like the first; nobody waits for what comes of it.
            tokio::spawn(async move {
                if network.travel(from, to, second).await
                    && let Some(handle) = network.up(to)
                {
                    let working = work(handle.clone());
                    handle.spawn(async move {
                        working.await;
                    });
                }
            });
        }
        if !self.travel(from, to, first).await {
            return None;
        }
        let handle = self.up(to)?;
        let (answer, answered) = oneshot::channel();
        let working = work(handle.clone());
        handle.spawn(async move {
            // Whoever asked may have gone.
            let _ = answer.send(working.await);
        });
        let done = answered.await.ok()?;
        if !handle.life.is_on() {
            return None;
        }
        let (back, _) = self.ways(to, from);
        self.travel(to, from, back).await.then_some(done)
    }
}

/// The network as one process uses it.
pub struct SimTransport {
    network: Arc<Network>,
    life: Arc<Life>,
    place: Place,
    node: NodeId,
}

impl SimTransport {
    /// A process's way out.
    pub fn new(network: &Arc<Network>, life: &Arc<Life>, place: Place, node: NodeId) -> Arc<Self> {
        Arc::new(Self { network: network.clone(), life: life.clone(), place, node })
    }
}

/// When a lost message is noticed as such, milliseconds at most: some at once, as when a connection is refused.
const NOTICED_MS_MAX: usize = 3_000;

impl Transport for SimTransport {
    fn call(&self, to: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Unreachable>> {
        let (network, from, me) = (self.network.clone(), self.place, self.node);
        let unreachable = move |reason: &str| Unreachable { node: to, reason: reason.to_owned() };
        let Some(place) = network.place(to) else {
            return std::future::ready(Err(unreachable("nobody knows it"))).boxed();
        };
        if !self.life.is_on() {
            return std::future::pending().boxed();
        }
        let names = (network.names[from].clone(), network.names[place].clone());
        network.trace.note(
            &names.0,
            format_args!("asks {}: {} bytes {:08x}", names.1, message.len(), Fold::of(&message) as u32),
        );
        let (answer, answered) = oneshot::channel();
        // On its own way: what was sent arrives even if nobody waits for the answer any more.
        tokio::spawn(async move {
            let message: Arc<[u8]> = message.into();
            let work = move |handle: Handle| {
                let message = message.clone();
                async move { handle.group.answer(me, &message).await }
            };
            let result = network.clone().visit(from, place, work).await;
            if let Some(bytes) = &result {
                let fold = Fold::of(bytes) as u32;
                network
                    .trace
                    .note(&names.0, format_args!("hears {}: {} bytes {fold:08x}", names.1, bytes.len()));
            } else {
                let late = if network.random.one_in(3) { 2 } else { NOTICED_MS_MAX };
                sleep(Duration::from_millis(1 + network.random.below(late) as u64)).await;
            }
            // Whoever asked may have given up.
            let _ = answer.send(result);
        });
        async move { answered.await.ok().flatten().ok_or_else(|| unreachable("nothing came back")) }.boxed()
    }
}
