//! What this machine offers a mesh of Orbit nodes.
//!
//! **Today** this crate looks and does not speak: [`survey`] reports the network interfaces, whether multicast
//! discovery (mDNS) can work on them, whether the listening port is free, and which cipher direct links should use on
//! this processor. `orbit doctor` prints it. Nothing is sent, and no port stays open.
//!
//! **What it will grow into**: the libp2p swarm (discovery, admission, control protocol), direct links, and the grid's
//! certificates. It is *not* the place for what nodes tell each other about jobs: those messages are `core`'s.
//!
//! Reading order: [`survey`](mod@survey) → [`interface`] → [`port`] → [`cipher`].
//!
//! ```text
//!   /sys/class/net, /proc/net ──▶ interface ─┐
//!   bind and drop on loopback ──▶ port ──────┼──▶ Survey ──▶ orbit doctor
//!   processor features ─────────▶ cipher ────┘
//! ```

pub mod cipher;
pub mod interface;
pub mod key;
pub mod pki;
pub mod port;
pub mod survey;

pub use cipher::Cipher;
pub use interface::{Interface, InterfaceError};
pub use port::PortState;
pub use survey::{DEFAULT_PORT, Survey, survey};
