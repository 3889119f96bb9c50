//! What a grid consists of, and what may be done to it: records, [`Command`]s and the rules that apply them.
//!
//! The Nucleus owns this state. A [`Command`] carries its time and its randomness as fields, so applying it is the same
//! everywhere; [`GridState::decide`] says which records change or why not, and changes nothing itself. The caller stores
//! the [`Change`]s first and lets the state [`absorb`](GridState::absorb) them then.
//!
//! ```text
//!   Command ──▶ GridState::decide ──▶ Ok(Vec<Change>) ──▶ stored ──▶ GridState::absorb
//!                                └──▶ Err(Refusal)    ──▶ told to whoever asked
//! ```
//!
//! Between voters a command travels in an [`Envelope`], and the [`Outcome`]s of the latest requests are remembered
//! ([`RecentRequests`]), so that one that is sent again gets the same answer.

pub mod command;
pub mod content;
pub mod envelope;
pub mod job;
pub mod liveness;
pub mod record;
pub mod refusal;
pub mod requests;
pub mod state;
pub mod ticket;
pub mod token;

pub use command::Command;
pub use content::Content;
pub use envelope::{Envelope, EnvelopeError, Outcome};
pub use liveness::{Liveness, LivenessRules};
pub use record::{
    Anchor, CertificateRecord, Change, Constellation, DiskClass, Fence, GridHeader, Metered, NodeRecord,
    Profile, Role, TokenRecord, Voting,
};
pub use refusal::Refusal;
pub use requests::RecentRequests;
pub use state::{Admission, GridState};
pub use ticket::{Ticket, TicketFault, Verb};
pub use token::{JoinToken, TokenError};
