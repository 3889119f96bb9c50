//! [`Writer`]: changes the grid's records through whichever node answers, and remembers what it was promised.

use crate::grid::conversation::{Answer, Conversation, Request};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Constellations of one writer that are there at once: a grid has room for a thousand.
const LIVE_MAX: usize = 40;
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Carried {
    /// It was done.
    Done {
        /// How often it was sent.
        sent: u32,
        /// What was answered.
        answer: Answer,
    },
    /// It was refused.
    Refused {
        /// How often it was sent.
        sent: u32,
        /// Why.
        answer: Answer,
    },
    /// Nobody said in time.
    Unknown {
        /// What was heard last.
        last: String,
    },
}

/// Sends requests to the first of several daemons that answers, again if need be.
#[derive(Debug)]
pub struct Courier {
    data_dirs: Vec<PathBuf>,
    at: usize,
    conversation: Option<Conversation>,
}

impl Courier {
    /// Begins with the daemon of the first directory.
    pub fn new(data_dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { data_dirs: data_dirs.into_iter().collect(), at: 0, conversation: None }
    }

    /// Sends a request until it is known what became of it.
    pub fn carry(&mut self, request: &Request, patience: Duration) -> Carried {
        let begun = Instant::now();
        let mut sent = 0;
        loop {
            let last = match self.ask(request, &mut sent) {
                Ok(answer) if answer.is_success() => return Carried::Done { sent, answer },
                // What the grid refuses it refuses for good; everything else is worth another try.
                Ok(answer) if !answer.is_to_repeat && answer.status < 500 => {
                    return Carried::Refused { sent, answer };
                }
                Ok(answer) => answer.message(),
                Err(error) => error.to_string(),
            };
            self.conversation = None;
            if begun.elapsed() > patience {
                return Carried::Unknown { last };
            }
            self.at = (self.at + 1) % self.data_dirs.len();
            std::thread::sleep(PAUSE);
        }
    }

    fn ask(&mut self, request: &Request, sent: &mut u32) -> std::io::Result<Answer> {
        let data_dir: &Path = &self.data_dirs[self.at];
        let conversation = match &mut self.conversation {
            Some(conversation) => conversation,
            none => none.insert(Conversation::open(data_dir)?),
        };
        *sent += 1;
        conversation.ask(request)
    }
}

/// What a writer was told, and what it found not to be so.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Of these, those that were sent more than once.
    pub repeated: u64,
    /// Changes that were carried out before they were sent again, and whose first answer was forgotten meanwhile.
    pub forgotten: u64,
    /// Changes of which nobody said in time what became of them.
    pub unknown: u64,
    /// Acknowledged changes that were gone, and answers that cannot be.
    pub wrong: Vec<String>,
}

/// Makes constellations with names that occur once, and removes the oldest; each removal proves that the constellation
/// was there.
#[derive(Debug)]
pub struct Writer {
    name: String,
    courier: Courier,
    next: u64,
    live: VecDeque<String>,
    /// Whether they are there nobody knows.
    doubtful: BTreeSet<String>,
    tally: Tally,
}

impl Writer {
    /// A writer with a name of its own, which begins with the daemon of the first directory.
    pub fn new(name: &str, data_dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            courier: Courier::new(data_dirs),
            next: 0,
            live: VecDeque::new(),
            doubtful: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// One change. Whether it was acknowledged in time.
    pub fn write(&mut self, patience: Duration) -> bool {
        if self.live.len() > LIVE_MAX
            && let Some(oldest) = self.live.pop_front()
        {
            self.remove(oldest, patience)
        } else {
            self.create(patience)
        }
    }

    fn create(&mut self, patience: Duration) -> bool {
        let name = format!("{}-{:06}", self.name, self.next);
        self.next += 1;
        match self.courier.carry(&Request::create(&name), patience) {
            Carried::Done { sent, .. } => {
                self.acknowledge(sent);
                self.live.push_back(name);
                true
            }
            // It is there: an earlier sending made it.
            Carried::Refused { sent, answer } if sent > 1 && answer.message().contains(&name) => {
                self.acknowledge(sent);
                self.tally.forgotten += 1;
                self.live.push_back(name);
                true
            }
            Carried::Refused { answer, .. } => self.wrong(format!("{name} was not made: {answer:?}")),
            Carried::Unknown { last } => self.doubt(name, &last),
        }
    }

    fn remove(&mut self, name: String, patience: Duration) -> bool {
        match self.courier.carry(&Request::remove(&name), patience) {
            Carried::Done { sent, .. } => self.acknowledge(sent),
            Carried::Refused { sent, answer } if sent > 1 && answer.status == 404 => {
                self.acknowledge(sent);
                self.tally.forgotten += 1;
                true
            }
            Carried::Refused { answer, .. } => {
                self.wrong(format!("{name} was acknowledged, and is gone: {}", answer.message()))
            }
            Carried::Unknown { last } => self.doubt(name, &last),
        }
    }

    fn acknowledge(&mut self, sent: u32) -> bool {
        self.tally.acknowledged += 1;
        self.tally.repeated += u64::from(sent > 1);
        true
    }

    fn wrong(&mut self, what: String) -> bool {
        self.tally.wrong.push(what);
        false
    }

    fn doubt(&mut self, name: String, last: &str) -> bool {
        crate::report::say(&format!("nobody says what became of {name}: {last}"));
        self.tally.unknown += 1;
        self.doubtful.insert(name);
        false
    }

    /// What it was told, with what is wrong about these constellations, which are all there are.
    pub fn judge(mut self, found: &BTreeSet<String>) -> Tally {
        let live: BTreeSet<String> = self.live.into_iter().collect();
        let lost = live.difference(found).map(|name| format!("{name} was acknowledged, and is gone"));
        self.tally.wrong.extend(lost);
        let own = format!("{}-", self.name);
        let risen = found
            .iter()
            .filter(|name| name.starts_with(&own) && !live.contains(*name) && !self.doubtful.contains(*name));
        self.tally.wrong.extend(risen.map(|name| format!("{name} was removed, and is there")));
        self.tally
    }
}
