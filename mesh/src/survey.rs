//! [`Survey`]: everything this machine offers a mesh, at one moment.

use crate::cipher::Cipher;
use crate::interface::{Interface, InterfaceError, interfaces};
use crate::port::PortState;

/// The port a node listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4001;

/// What this machine offers a mesh.
#[derive(Debug)]
pub struct Survey {
    /// Its network interfaces, sorted by name, or why they are unknown.
    pub interfaces: Result<Vec<Interface>, InterfaceError>,
    /// The port that was tried.
    pub port: u16,
    /// Whether a node could listen on it.
    pub port_state: PortState,
    /// The cipher direct links should prefer here.
    pub cipher: Cipher,
}

impl Survey {
    /// Interfaces on which other nodes can be found by multicast.
    pub fn discovery(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().flatten().filter(|interface| interface.can_discover())
    }
}

/// Looks at interfaces, `port` and processor. Takes milliseconds, sends nothing, leaves nothing open.
pub fn survey(port: u16) -> Survey {
    Survey {
        interfaces: interfaces(),
        port,
        port_state: PortState::try_loopback(port),
        cipher: Cipher::for_this_processor(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_surveyed() {
        let survey = survey(0);
        assert!(matches!(survey.port_state, PortState::Free), "port 0 is any free port");
        if cfg!(target_os = "linux") {
            let interfaces = survey.interfaces.as_ref().expect("Linux lists its interfaces");
            assert!(interfaces.is_sorted_by_key(|interface| &interface.name));
            assert!(survey.discovery().all(|interface| interface.up && !interface.loopback));
        }
    }
}
