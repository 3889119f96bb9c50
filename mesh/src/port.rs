//! [`PortState`]: whether a node could listen on a TCP port.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// What binding a port on loopback showed.
#[derive(Debug)]
pub enum PortState {
    /// It can be bound.
    Free,
    /// Something listens there already; perhaps another Orbit node.
    InUse,
    /// This user may not bind it (below 1024 without privilege).
    Forbidden,
    /// Something else is in the way.
    Failed(io::Error),
}

impl PortState {
    /// Binds `port` on 127.0.0.1 and lets go of it at once. Loopback, so that no firewall asks a question and nobody
    /// outside can connect meanwhile.
    pub fn try_loopback(port: u16) -> Self {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => Self::Free,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Self::InUse,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Forbidden,
            Err(error) => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_in_use() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        assert!(matches!(PortState::try_loopback(port), PortState::InUse));
    }
}
