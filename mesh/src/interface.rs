//! [`Interface`]: a network interface as far as a mesh cares.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::interfaces;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's name for it, for example `eth0`.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Whether it is switched on and has a carrier.
    pub up: bool,
    /// Whether it reaches this machine only.
    pub loopback: bool,
    /// Whether it carries multicast.
    pub multicast: bool,
}

impl Interface {
    /// Whether other nodes can be found here by mDNS: up, multicast, an address, and not loopback.
    pub fn can_discover(&self) -> bool {
        self.up && self.multicast && !self.loopback && !self.addresses.is_empty()
    }
}

/// Why the interfaces are unknown.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// This operating system is not covered yet.
    #[error("listing network interfaces is not supported on this system yet")]
    Unsupported,
    /// The kernel's list cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// This machine's interfaces, sorted by name.
#[cfg(not(target_os = "linux"))]
pub fn interfaces() -> Result<Vec<Interface>, InterfaceError> {
    Err(InterfaceError::Unsupported)
}
