//! [`Refusal`]: why the grid does not do what was asked, and what to do about it.

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
    /// The Nucleus cannot be removed while others depend on it.
    #[error("{name} is the Nucleus: without it nothing in the grid can be commanded")]
    IsNucleus {
        /// The node.
        name: String,
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

fn listed(paths: &[String]) -> String {
    if paths.is_empty() { "none: it holds no files for the grid".to_owned() } else { paths.join(", ") }
}
