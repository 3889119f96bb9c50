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

pub mod command;
pub mod liveness;
pub mod record;
pub mod refusal;
pub mod state;
pub mod token;

pub use command::Command;
pub use liveness::{Liveness, LivenessRules};
pub use record::{
    Anchor, CertificateRecord, Change, Constellation, Fence, GridHeader, NodeRecord, Profile, Role,
    TokenRecord,
};
pub use refusal::Refusal;
pub use state::{Admission, GridState};
pub use token::{JoinToken, TokenError};
