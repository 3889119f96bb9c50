//! [`work`]: somebody who uses the grid through whichever node seems to lead, and asks again when no answer comes.

use super::host::{Handle, Host};
use super::linear::{Operation, What};
use super::plant::Plant;
use super::world::{World, drawn, record};
use crate::random::Random;
use orbit_consensus::GroupError;
use orbit_core::grid::{Change, Command, Content, GridState, Outcome, Profile, Role, TokenRecord};
use orbit_core::hash::ContentHash;
use orbit_core::ids::{NodeId, PeerKey, RequestId, TokenId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a client goes on asking for one thing.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long tokens live, milliseconds. Clocks jump further.
const TOKEN_LIFE_MS: i64 = 3_600_000;
/// The secret of every token: what is hashed is not what is tested here.
const SECRET: [u8; 32] = [5; 32];
/// Constellations there are, and contents: few, so that operations meet.
const FEW: usize = 5;

/// Tokens that exist, for whoever wants to use one.
pub type Tokens = Arc<Mutex<Vec<TokenId>>>;

/// How a read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// After a quorum confirmed the leader.
    Confirmed,
    /// By a leader that holds its lease.
    Leased,
    /// By anybody, and marked as possibly old.
    Stale,
}

/// Which register of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Version,
}

/// What a node answers.
#[derive(Debug)]
enum Reply {
    Done(Outcome),
    Value(u64),
    NotLeader(Option<NodeId>),
    NoQuorum,
    Unsure,
}

/// One client.
pub struct Client {
    world: Arc<World>,
    number: usize,
    random: Random,
    tokens: Tokens,
    /// The host it asks next.
    host: usize,
}

/// Works until the world is over.
pub async fn work(world: Arc<World>, number: usize, random: Random, tokens: Tokens) {
    let host = random.below(world.hosts.len());
    let mut client = Client { world, number, random, tokens, host };
    while !client.world.is_over() {
        let pause = client.random.below(client.world.settings.pause_ms);
        sleep(Duration::from_millis(pause as u64)).await;
        client.once().await;
    }
}

impl Client {
    async fn once(&mut self) {
        match self.random.below(20) {
            0..=3 => self.write(Field::Name).await,
            4..=6 => self.write(Field::Version).await,
            7..=9 => self.read(Read::Confirmed).await,
            10..=12 => self.read(Read::Leased).await,
            13 => self.read(Read::Stale).await,
            14 => self.create_token().await,
            15 | 16 => self.enrol().await,
            17 => self.contents().await,
            18 => self.constellation().await,
            _ => self.drain().await,
        }
    }

    fn member(&self) -> usize {
        self.random.below(self.world.members.len())
    }

    /// Writes a value that nobody else writes to a register.
    async fn write(&mut self, field: Field) {
        let member = self.member();
        let value = self.world.moment() + 1;
        let node = self.world.members[member];
        let command = match field {
            Field::Name => Command::Rename { node, name: format!("m{member}-{value}") },
            Field::Version => {
                let version = format!("v-{value}");
                let platform = "simulated".to_owned();
                Command::Describe { node, profile: Profile { version, platform, ..Profile::default() } }
            }
        };
        let register = register(member, field);
        let began = self.world.moment();
        let operation = Operation { what: What::Write(value), began, ended: None };
        let number = self.world.watch.with(|rules| rules.history.begins(&register, operation));
        match self.execute(command).await {
            Some(Ok(_)) => {
                let ended = self.world.moment();
                self.world.watch.with(|rules| rules.history.ends(&register, number, ended, None));
            }
            Some(Err(refusal)) => {
                let what = format_args!("{register}: {refusal}");
                self.world.trace.violation("a write to a known member is not refused", what);
            }
            None => {}
        }
    }

    async fn read(&mut self, how: Read) {
        let (member, field) =
            (self.member(), if self.random.one_in(2) { Field::Name } else { Field::Version });
        let register = register(member, field);
        let began = self.world.moment();
        let (node, plant) = (self.world.members[member], self.world.plant);
        let work = move |handle: Handle| async move {
            let value = handle_read(&handle, how, plant).await;
            value.map_or_else(
                |reply| reply,
                |()| Reply::Value(handle.group.with(|state| look(state, node, field))),
            )
        };
        let Some(Reply::Value(value)) = self.ask(work).await else { return };
        self.world.trace.note(&self.name(), format_args!("reads {value} of {register}, {how:?}"));
        if how == Read::Stale {
            return;
        }
        let ended = self.world.moment();
        let operation = Operation { what: What::Read(value), began, ended: Some(ended) };
        self.world.watch.with(|rules| rules.history.begins(&register, operation));
    }

    async fn create_token(&mut self) {
        let id = TokenId::from_bytes(drawn(&self.random));
        let now_ms = self.clock().now_ms(&self.world);
        let token = TokenRecord {
            id,
            secret_hash: SECRET,
            authority: [1; 32],
            role: Role::Star,
            uses: 1,
            used_by: Vec::new(),
            created_ms: now_ms,
            expires_ms: now_ms + TOKEN_LIFE_MS,
            created_on: self.world.members[0],
        };
        if let Some(Ok(_)) = self.execute(Command::CreateToken { token }).await {
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
    }

    /// A new node uses a token that others may be using too.
    async fn enrol(&mut self) {
        let token = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            // The newest are those that were not used yet.
            let newest = tokens.get(tokens.len().saturating_sub(2)..).unwrap_or_default();
            self.random.pick(newest).copied()
        };
        let Some(token) = token else { return };
        let now_ms = self.clock().now_ms(&self.world);
        let id = NodeId::from_bytes(drawn(&self.random));
        let name = format!("s{}", self.random.below(1 << 20));
        let node = record(&self.random, id, &name, Role::Star, now_ms);
        let key: PeerKey = node.key;
        let command = Command::Enrol { token, secret_hash: SECRET, node, now_ms };
        if let Some(Ok(changes)) = self.execute(command).await
            && changes.iter().any(|change| matches!(change, Change::Node(node) if node.key == key))
        {
            self.world.watch.check(|rules| rules.tokens.admitted(token, key));
        }
    }

    async fn contents(&mut self) {
        let holder = self.world.members[self.member()];
        let command = if self.random.one_in(3) {
            Command::ForgetContents { holder }
        } else {
            let content = |_| {
                let byte = self.random.below(FEW) as u8;
                Content {
                    root: ContentHash::from_bytes([byte; 32]),
                    bytes: 1 << byte,
                    chunks: u32::from(byte) + 1,
                }
            };
            Command::RecordContents { holder, contents: (0..=self.random.below(3)).map(content).collect() }
        };
        self.execute(command).await;
    }

    async fn constellation(&mut self) {
        let name = format!("group-{}", self.random.below(FEW));
        let nodes = vec![self.world.members[self.member()]];
        let command = match self.random.below(4) {
            0 => Command::CreateConstellation { name },
            1 => Command::RemoveFromConstellation { name, nodes: Vec::new() },
            2 => Command::RemoveFromConstellation { name, nodes },
            _ => Command::AddToConstellation { name, nodes },
        };
        self.execute(command).await;
    }

    async fn drain(&mut self) {
        let node = self.world.members[self.member()];
        self.execute(Command::Drain { node, is_draining: self.random.one_in(2) }).await;
    }

    /// The machine whose clock a command carries.
    fn clock(&self) -> &Arc<Host> {
        &self.world.hosts[self.host]
    }

    fn name(&self) -> String {
        format!("c{}", self.number)
    }

    /// Has a command carried out, asking again with the same request id until there is an answer or patience ends. None:
    /// it is not known whether it was.
    async fn execute(&mut self, command: Command) -> Option<Outcome> {
        let request = RequestId::from_bytes(drawn(&self.random));
        let begun = Instant::now();
        // Somebody who is told that nothing was done may believe it and leave.
        let believes = self.random.one_in(6);
        let mut was_denied_always = true;
        // What members hold is recorded whenever somebody says so, and nobody remembers who did.
        let is_remembered = command.contents_change().is_none();
        self.world.trace.note(&self.name(), format_args!("wants {request}: {}", kind(&command)));
        while begun.elapsed() < PATIENCE {
            let command = command.clone();
            let work = move |handle: Handle| {
                let command = command.clone();
                async move { reply(handle.group.execute(Some(request), command).await) }
            };
            match self.ask(work).await {
                Some(Reply::Done(outcome)) => {
                    let told = outcome.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
                    self.world.trace.note(&self.name(), format_args!("hears of {request}: {told}"));
                    if is_remembered {
                        self.world.watch.check(|rules| rules.acknowledged.acknowledged(request, &outcome));
                    }
                    return Some(outcome);
                }
                Some(Reply::NotLeader(_) | Reply::NoQuorum) if was_denied_always && believes => {
                    self.world.trace.note(&self.name(), format_args!("believes that {request} is not done"));
                    self.world.watch.check(|rules| rules.acknowledged.denied(request));
                    return None;
                }
                Some(Reply::NotLeader(_) | Reply::NoQuorum) => {}
                Some(Reply::Unsure | Reply::Value(_)) | None => was_denied_always = false,
            }
            let pause = 5 + self.random.below(150);
            sleep(Duration::from_millis(pause as u64)).await;
        }
        None
    }

    /// Asks one node, and finds out whom to ask next. None: no answer came.
    async fn ask<F, W>(&mut self, work: W) -> Option<Reply>
    where
        F: Future<Output = Reply> + Send + 'static,
        W: Fn(Handle) -> F + Clone + Send + 'static,
    {
        let (world, to) = (self.world.clone(), self.host);
        let from = world.client_place(self.number);
        let patience = Duration::from_millis(500 + self.random.below(4_500) as u64);
        let reply = timeout(patience, world.network.clone().visit(from, to, work)).await.ok().flatten();
        let next = match &reply {
            Some(Reply::Done(_) | Reply::Value(_)) => Some(self.host),
            Some(Reply::NotLeader(leader)) => leader.and_then(|leader| world.network.place(leader)),
            _ => None,
        };
        self.host = next.unwrap_or_else(|| self.random.below(world.hosts.len()));
        reply
    }
}

fn register(member: usize, field: Field) -> String {
    format!("{field:?} of {member}")
}

/// The number at the end of a name or a version.
fn look(state: &GridState, node: NodeId, field: Field) -> u64 {
    let text = state.node(node).map(|record| match field {
        Field::Name => record.name.clone(),
        Field::Version => record.profile.version.clone(),
    });
    // A state without the member, as a new learner's, is read as nobody's value.
    let number = text.and_then(|text| text.rsplit_once('-')?.1.parse().ok());
    number.unwrap_or(u64::MAX)
}

/// Whether this node may answer such a read now.
async fn handle_read(handle: &Handle, how: Read, plant: Option<Plant>) -> Result<(), Reply> {
    if plant == Some(Plant::StaleReadAsCurrent) {
        return Ok(());
    }
    match how {
        Read::Stale => Ok(()),
        Read::Confirmed => handle.group.confirm().await.map_err(|error| reply(Err(error))),
        Read::Leased if handle.group.holds_lease() => Ok(()),
        Read::Leased => Err(Reply::NotLeader(handle.group.standing().borrow().leader)),
    }
}

fn reply(result: Result<Vec<Change>, GroupError>) -> Reply {
    match result {
        Ok(changes) => Reply::Done(Ok(changes)),
        Err(GroupError::Refused(refusal)) => Reply::Done(Err(refusal)),
        Err(GroupError::NotLeader { leader }) => Reply::NotLeader(leader),
        Err(GroupError::NoQuorum) => Reply::NoQuorum,
        Err(_) => Reply::Unsure,
    }
}

fn kind(command: &Command) -> String {
    let told = format!("{command:?}");
    told.split([' ', '{']).next().unwrap_or_default().to_owned()
}
