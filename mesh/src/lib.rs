//! How the nodes of a grid find, prove and reach each other.
//!
//! **What it is for**: one libp2p swarm in one task ([`Mesh`]), the grid's certificates ([`pki`]), node keys ([`key`]),
//! and a look at what this machine offers ([`survey`](mod@survey)). This is the only crate that knows libp2p; it
//! re-exports [`PeerId`] and [`Multiaddr`] for the others.
//!
//! **What it is not for**: what nodes tell each other (the messages are `core`'s), who is a member (the Nucleus decides;
//! here certificates are checked), and when to connect to whom (the daemon says so).
//!
//! Reading order: [`net`] → `net/gate.rs` → `net/task.rs` → [`pki`] → [`key`]; apart from these, the survey:
//! [`survey`](mod@survey) → [`interface`] → [`port`] → [`cipher`]; for data between stars [`direct`].
//!
//! ```text
//!   NodeKey ─────────────┐               ┌──▶ MeshEvent (admitted, gone, join, asked, opened)
//!   Identity ────────────┼──▶ Mesh ◀─────┤
//!    = certificate+Trust ┘     │         └──▶ connect, hello, join, ask, open
//!                              ▼
//!                 TCP ▸ Noise ▸ yamux, mDNS
//!
//!   Terms (agreed in the mesh) ──▶ direct: TCP ▸ Noise ──▶ DirectStream, for bulk
//!
//!   /sys/class/net, /proc/net ──▶ interface ─┐
//!   bind and drop on loopback ──▶ port ──────┼──▶ Survey ──▶ orbit doctor
//!   processor features ─────────▶ cipher ────┘
//! ```

pub mod cipher;
pub mod direct;
pub mod interface;
pub mod key;
pub mod net;
pub mod pki;
pub mod port;
pub mod survey;

pub use cipher::Cipher;
pub use interface::{Interface, InterfaceError};
pub use libp2p::{Multiaddr, PeerId};
pub use net::{
    AddressFault, Answer, AskError, ConnectError, Direction, Identity, Limits, LinkKind, Member, Mesh,
    MeshConfig, MeshCounters, MeshError, MeshEvent, MeshStream, PeerLink, Protocol,
};
pub use port::PortState;
pub use survey::{DEFAULT_PORT, Survey, survey};
