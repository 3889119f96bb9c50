//! [`Refusal`]: why the grid does not do what was asked, and what to do about it.

use super::record::Role;
use super::ticket::TicketFault;
use crate::ids::TokenId;
use serde::{Deserialize, Serialize};

/// Why a node or the Nucleus refuses. It travels, so it carries data, not text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
pub enum Refusal {
    /// No such token: removed, or never made by this grid.
    #[error("the grid knows no join token {token}")]
    TokenUnknown {
        /// The token.
        token: TokenId,
    },
    /// The token's time is over.
    #[error("join token {token} expired {} ago", span(*.ago_ms))]
    TokenExpired {
        /// The token.
        token: TokenId,
        /// Since when, milliseconds.
        ago_ms: i64,
    },
    /// The token has admitted all the nodes it may.
    #[error("join token {token} was already used ({uses} of {uses})")]
    TokenUsed {
        /// The token.
        token: TokenId,
        /// How many it admits.
        uses: u32,
    },
    /// The secret is not the token's.
    #[error("join token {token} does not match: its secret is wrong")]
    TokenWrong {
        /// The token.
        token: TokenId,
    },
    /// The certificate is not valid here.
    #[error("the certificate is not accepted: {reason}")]
    Certificate {
        /// Why.
        reason: CertificateFault,
    },
    /// The asker belongs to another grid.
    #[error("this node belongs to another grid")]
    OtherGrid,
    /// The asker speaks a version that is not understood here.
    #[error("the other side speaks protocol version {theirs}, this node {ours}")]
    Protocol {
        /// Its version.
        theirs: u32,
        /// The version here.
        ours: u32,
    },
    /// No node of that name or id.
    #[error("there is no node {name}{}", did_you_mean(.nearest.as_ref()))]
    UnknownNode {
        /// What was asked for.
        name: String,
        /// A name that is much like it.
        nearest: Option<String>,
    },
    /// Not a name a node can have.
    #[error(
        "`{name}` is no node name: two to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// Another node has that name.
    #[error("a node is named {name} already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The only Nucleus cannot be removed while others depend on it.
    #[error("{name} is the only Nucleus: without it nothing in the grid can be commanded")]
    IsNucleus {
        /// The node.
        name: String,
    },
    /// A node that may have voted does not join once more as the same node.
    #[error("{name} is a member already, and one that may vote: it cannot join anew as the same node")]
    MayVote {
        /// The node.
        name: String,
    },
    /// The role is not given or taken this way.
    #[error("{name} is a {role} and cannot become a {wanted}: {}", fixed_role(*.wanted))]
    FixedRole {
        /// The node.
        name: String,
        /// What it is.
        role: Role,
        /// What it was to be.
        wanted: Role,
    },
    /// Without this node's vote the grid could decide nothing any more.
    #[error(
        "the grid cannot do without the vote of {name}: of {voters} {} {needed} must agree, and without {name} {} heard{}",
        plural(*.voters, "voter"), are(*.others_heard), not_heard(.silent)
    )]
    WouldLoseQuorum {
        /// The node.
        name: String,
        /// Voters there are.
        voters: u32,
        /// How many of them must agree.
        needed: u32,
        /// How many of the others are heard.
        others_heard: u32,
        /// Names of the others that are not.
        silent: Vec<String>,
    },
    /// Too few voters are heard to decide anything.
    #[error(
        "the grid can decide nothing now: of {voters} {} {needed} must agree, and {} heard{}",
        plural(*.voters, "voter"), are(*.heard), not_heard(.silent)
    )]
    NoQuorum {
        /// Voters there are.
        voters: u32,
        /// How many of them must agree.
        needed: u32,
        /// How many are heard.
        heard: u32,
        /// Names of those that are not.
        silent: Vec<String>,
    },
    /// The node is no voter, nor about to become one.
    #[error("{node} does not vote in this grid")]
    NotVoter {
        /// The node.
        node: String,
    },
    /// One side belongs to a grid that was given up in a recovery.
    #[error("{}", epochs(*.theirs, *.ours))]
    OtherEpoch {
        /// Epoch of the asker.
        theirs: u32,
        /// Epoch of the node that answers.
        ours: u32,
    },
    /// The node takes no new work.
    #[error("{name} is draining: it takes no new work")]
    Draining {
        /// The node.
        name: String,
    },
    /// The node cannot be reached.
    #[error("{name} cannot be reached: {}", seen(*.last_seen_ago_ms))]
    NodeUnreachable {
        /// The node.
        name: String,
        /// How long ago it was heard, milliseconds; negative if never.
        last_seen_ago_ms: i64,
    },
    /// The node is too busy.
    #[error("{name} is busy: it answers {limit} questions at a time")]
    Busy {
        /// The node.
        name: String,
        /// How many at a time.
        limit: u32,
    },
    /// No constellation of that name.
    #[error("there is no constellation {name}{}", did_you_mean(.nearest.as_ref()))]
    UnknownConstellation {
        /// What was asked for.
        name: String,
        /// A name that is much like it.
        nearest: Option<String>,
    },
    /// A constellation of that name exists.
    #[error("there is a constellation {name} already")]
    ConstellationExists {
        /// Its name.
        name: String,
    },
    /// No job of that id.
    #[error("there is no job {job}")]
    UnknownJob {
        /// What was asked for.
        job: String,
    },
    /// Several jobs' ids begin like that.
    #[error("the ids of several jobs begin with {job}")]
    AmbiguousJob {
        /// What was asked for.
        job: String,
    },
    /// A job is not where this can be done to it.
    #[error("job {job} is {state}: it cannot be {deed} now")]
    JobState {
        /// The job.
        job: String,
        /// Where it stands.
        state: String,
        /// What was asked, as a participle.
        deed: String,
    },
    /// A path lies outside what a star allows.
    #[error("{node} refused {path}: it is outside its allowed paths ({})", listed(.allowed))]
    OutsideJail {
        /// The star.
        node: String,
        /// The path, for people.
        path: String,
        /// What it allows.
        allowed: Vec<String>,
    },
    /// The command is from a Nucleus that has been replaced.
    #[error("{node} refused the command: it is of term {theirs}, and the node has seen term {ours}")]
    OldTerm {
        /// The star.
        node: String,
        /// Term of the command.
        theirs: u64,
        /// Newest term it has seen.
        ours: u64,
    },
    /// The ticket for a direct link is not valid.
    #[error("{node} refused the ticket for the job: {reason}")]
    Ticket {
        /// The star.
        node: String,
        /// Why.
        reason: TicketFault,
    },
    /// Only the Nucleus may ask this.
    #[error("{node} takes this command only from the Nucleus")]
    NotNucleus {
        /// The star.
        node: String,
    },
    /// Too many requests in a short time.
    #[error("too many requests; try again in {} s", .retry_after_s)]
    TooMany {
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// The node has no way to the Nucleus now.
    #[error("{node} is not connected to the Nucleus")]
    NoNucleus {
        /// The node that answers.
        node: String,
    },
    /// No grid was founded here.
    #[error("no grid was founded here")]
    NotFounded,
    /// The grid has its first node already.
    #[error("the grid has been founded already")]
    AlreadyFounded,
    /// A bound of the request was exceeded.
    #[error("{what} is out of range ({allowed})")]
    OutOfRange {
        /// What.
        what: String,
        /// What is allowed.
        allowed: String,
    },
    /// Something failed at the node that was asked, for example its disk.
    #[error("{node} failed: {message}")]
    Failed {
        /// The node.
        node: String,
        /// What happened there.
        message: String,
    },
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
pub enum CertificateFault {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// None of the grid's authorities signed it.
    #[error("it was not signed by this grid")]
    Untrusted,
    /// It is for another key.
    #[error("it belongs to another node's key")]
    OtherKey,
    /// Its time is over.
    #[error("it expired {} ago", span(*.ago_ms))]
    Expired {
        /// Since when, milliseconds.
        ago_ms: i64,
    },
    /// Its time has not come.
    #[error("it is not valid for another {}: a clock is off", span(*.in_ms))]
    NotYet {
        /// How long, milliseconds.
        in_ms: i64,
    },
    /// The node was removed from the grid.
    #[error("the node was removed from the grid")]
    Revoked,
}

/// What kind of failure a refusal is: the exit code and the HTTP status are chosen from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// What was named does not exist.
    NotFound,
    /// Somebody cannot be reached now; the same request may work later.
    Unreachable,
    /// A rule forbids it.
    Refused,
    /// The request makes no sense as it is written.
    Usage,
    /// Something broke.
    Failed,
}

impl Refusal {
    /// What kind of failure it is.
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::UnknownNode { .. }
            | Self::UnknownConstellation { .. }
            | Self::UnknownJob { .. }
            | Self::NotFounded => RefusalKind::NotFound,
            Self::NodeUnreachable { .. }
            | Self::Busy { .. }
            | Self::TooMany { .. }
            | Self::NoNucleus { .. }
            | Self::NoQuorum { .. } => RefusalKind::Unreachable,
            Self::TokenUnknown { .. }
            | Self::TokenExpired { .. }
            | Self::TokenUsed { .. }
            | Self::TokenWrong { .. }
            | Self::Certificate { .. }
            | Self::OtherGrid
            | Self::IsNucleus { .. }
            | Self::MayVote { .. }
            | Self::FixedRole { .. }
            | Self::WouldLoseQuorum { .. }
            | Self::NotVoter { .. }
            | Self::OtherEpoch { .. }
            | Self::Draining { .. }
            | Self::OutsideJail { .. }
            | Self::OldTerm { .. }
            | Self::Ticket { .. }
            | Self::NotNucleus { .. }
            | Self::NameTaken { .. }
            | Self::ConstellationExists { .. }
            | Self::JobState { .. }
            | Self::AlreadyFounded => RefusalKind::Refused,
            Self::BadName { .. } | Self::OutOfRange { .. } | Self::AmbiguousJob { .. } => RefusalKind::Usage,
            Self::Protocol { .. } | Self::Failed { .. } => RefusalKind::Failed,
        }
    }

    /// What to do about it: the command that mends it, for people. None if only the message can say.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TokenUnknown { .. } | Self::TokenExpired { .. } | Self::TokenUsed { .. } => {
                "run `orbit token create` on a member and join with the new line"
            }
            Self::TokenWrong { .. } => {
                "copy the whole line that `orbit token create` printed, or run it again on a member for a new one"
            }
            Self::Certificate { reason } => reason.hint(),
            Self::OtherGrid => {
                "`orbit node leave` gives up the membership in the other grid; then join this one, or use another --data-dir"
            }
            Self::Protocol { theirs, ours } => {
                let older = if theirs < ours { "the other side" } else { "this node" };
                return Some(format!("update orbit on {older}; `orbit node ls` shows the versions"));
            }
            Self::UnknownNode { .. } => "`orbit node ls` lists them",
            Self::BadName { .. } => "choose another name, for example nas2",
            Self::NameTaken { name } => {
                return Some(format!("choose another name; `orbit node show {name}` tells whom it means"));
            }
            Self::IsNucleus { .. } => {
                "make another node a Nucleus first (`orbit node promote NODE`), or remove the others (`orbit node rm NODE`)"
            }
            Self::MayVote { name } => {
                return Some(format!(
                    "if it lost its data, run `orbit node rm {name}` on another member, then join again"
                ));
            }
            Self::FixedRole { name, wanted, .. } => return Some(role_hint(name, *wanted)),
            Self::WouldLoseQuorum { silent, .. } => return Some(keep_quorum_hint(silent)),
            Self::NoQuorum { silent, .. } => {
                return Some(format!(
                    "start `orbit node run` on {}; only if they are gone for good: `orbit recover`",
                    several(silent, "the other voters")
                ));
            }
            Self::NotVoter { .. } => "`orbit status` tells who votes; `orbit node promote NODE` asks for one",
            Self::OtherEpoch { theirs, ours } => {
                let which = if theirs < ours { "on that node" } else { "on this node" };
                return Some(format!(
                    "run `orbit node leave` {which}, then join again with a line from `orbit token create`"
                ));
            }
            Self::Draining { name } => {
                return Some(format!("`orbit node drain {name} --undo` gives it work again"));
            }
            Self::NodeUnreachable { name, .. } => {
                return Some(format!(
                    "is `orbit node run` running there? `orbit node show {name}` tells more"
                ));
            }
            Self::Busy { .. } => "try again in a moment; `orbit node ls` shows what the nodes are busy with",
            Self::UnknownJob { .. } => "`orbit job ls` lists them",
            Self::AmbiguousJob { .. } => "write more digits; `orbit job ls` lists them",
            Self::JobState { job, .. } => return Some(format!("`orbit job show {job}` tells more")),
            Self::UnknownConstellation { .. } => "`orbit constellation ls` lists them",
            Self::ConstellationExists { name } => {
                return Some(format!("`orbit constellation add {name} NODE` adds nodes to it"));
            }
            Self::OutsideJail { node, allowed, .. } => return Some(outside_hint(node, allowed)),
            Self::OldTerm { .. } => {
                "another Nucleus has taken over: `orbit status` tells which; run the command again"
            }
            Self::Ticket { reason, .. } => reason.hint(),
            Self::NotNucleus { .. } => {
                "`orbit status` tells which node is the Nucleus; run the command again"
            }
            Self::TooMany { retry_after_s } => {
                return Some(format!("wait {retry_after_s} s and run it again"));
            }
            Self::NoNucleus { .. } => {
                "is `orbit node run` running on the Nucleus? `orbit status` tells more, `orbit doctor` looks for the cause"
            }
            Self::NotFounded => "`orbit node init` founds a grid, `orbit node join TOKEN` joins one",
            Self::AlreadyFounded => "`orbit node ls` shows it; another --data-dir makes another node",
            Self::OutOfRange { .. } => return None,
            Self::Failed { node, .. } => return Some(format!("run `orbit doctor` on {node}")),
        };
        Some(hint.to_owned())
    }
}

impl CertificateFault {
    /// What to do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Unreadable | Self::OtherKey => {
                "run `orbit node leave` on the node, then join again with a line from `orbit token create`"
            }
            Self::Untrusted => {
                "is this the right grid? Run `orbit token create` on one of its members and join with that line"
            }
            Self::Expired { .. } => {
                "`orbit node run` asks the Nucleus for a new one; if the node's clock is wrong, set it (`timedatectl`)"
            }
            Self::NotYet { .. } => "set the clock on both machines (`timedatectl set-ntp true`)",
            Self::Revoked => {
                "to bring the node back, run `orbit token create` on a member and join with the new line"
            }
        }
    }
}

fn outside_hint(node: &str, allowed: &[String]) -> String {
    let add = format!("add it to allowed_paths in the star.toml of {node}");
    match allowed.first() {
        Some(path) => format!("{add}, or use a path below {path}"),
        None => add,
    }
}

/// A span of time for people: `42 s`, `3 min`, `5 h`, `2 d`.
pub fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn did_you_mean(name: Option<&String>) -> String {
    name.map_or_else(String::new, |name| format!(". Did you mean {name}?"))
}

fn seen(ago_ms: i64) -> String {
    if ago_ms < 0 {
        "it was not heard since the Nucleus started".to_owned()
    } else {
        format!("last heard {} ago", span(ago_ms))
    }
}

fn plural(count: u32, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

fn are(count: u32) -> String {
    match count {
        0 => "none is".to_owned(),
        1 => "1 is".to_owned(),
        _ => format!("{count} are"),
    }
}

fn not_heard(silent: &[String]) -> String {
    if silent.is_empty() { String::new() } else { format!(" (not heard: {})", silent.join(", ")) }
}

fn several(names: &[String], else_say: &str) -> String {
    match names {
        [] => else_say.to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn keep_quorum_hint(silent: &[String]) -> String {
    if silent.is_empty() {
        return "add a node first (`orbit token create`), or let another one vote (`orbit node promote NODE`); \
                `orbit status` shows when it is ready"
            .to_owned();
    }
    format!("start `orbit node run` on {} first; `orbit status` shows who is heard", several(silent, ""))
}

const fn fixed_role(wanted: Role) -> &'static str {
    match wanted {
        Role::Witness => "a node is a witness from when it joins",
        Role::Star | Role::Nucleus => "a witness stays one, since it holds no files",
    }
}

fn role_hint(name: &str, wanted: Role) -> String {
    let role = if wanted == Role::Witness { "witness" } else { "star" };
    format!("`orbit node rm {name}`, then join again with a line from `orbit token create --role {role}`")
}

fn epochs(theirs: u32, ours: u32) -> String {
    let given_up = |epoch, now| {
        format!("of epoch {epoch}, which was given up in a recovery; the grid is in epoch {now}")
    };
    if theirs < ours {
        format!("the other side belongs to the grid {}", given_up(theirs, ours))
    } else {
        format!("this node belongs to the grid {}", given_up(ours, theirs))
    }
}

fn listed(paths: &[String]) -> String {
    if paths.is_empty() { "none: it holds no files for the grid".to_owned() } else { paths.join(", ") }
}

#[cfg(test)]
mod tests;
