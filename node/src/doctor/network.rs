//! What this machine offers a grid. Nothing here stands in the way of working alone, so nothing fails.

use super::Finding;
use orbit_consensus::{tolerates, voters_for};
use orbit_mesh::{Cipher, PortState, Survey, survey};

/// `is_running`: a node of this data directory runs, so a port in use may well be its own.
pub(super) fn examine(port: u16, is_running: bool, found: &mut dyn FnMut(Finding)) {
    let survey = survey(port);
    found(discovery(&survey));
    found(listening(&survey, is_running));
    found(cipher(survey.cipher));
    found(group());
}

fn discovery(survey: &Survey) -> Finding {
    let subject = "discovery";
    if let Err(error) = &survey.interfaces {
        let fix = "nothing to do alone; in a grid, name a node's address when joining";
        return Finding::warn(subject, crate::standalone::error::chain(error), fix);
    }
    let interfaces: Vec<String> = survey
        .discovery()
        .map(|interface| {
            let addresses: Vec<_> = interface.addresses.iter().map(ToString::to_string).collect();
            format!("{} ({})", interface.name, addresses.join(", "))
        })
        .collect();
    if interfaces.is_empty() {
        let message =
            "no interface is up, has an address and carries multicast: other nodes are not found by mDNS";
        return Finding::warn(subject, message, "bring one up: ip link set DEVICE up multicast on");
    }
    Finding::ok(subject, format!("other nodes can be found by mDNS on {}", interfaces.join(", ")))
}

fn listening(survey: &Survey, is_running: bool) -> Finding {
    let subject = "port";
    let port = survey.port;
    match &survey.port_state {
        PortState::Free => Finding::ok(subject, format!("TCP port {port} is free")),
        PortState::InUse if is_running => {
            Finding::ok(subject, format!("TCP port {port} is in use; a node runs here"))
        }
        PortState::InUse => {
            let fix = format!("see who has it: ss -ltnp sport = :{port}");
            Finding::warn(subject, format!("TCP port {port} is in use"), fix)
        }
        PortState::Forbidden => {
            let message = format!("this user may not listen on TCP port {port}");
            Finding::warn(subject, message, "choose a port above 1023: orbit doctor --port 4001")
        }
        PortState::Failed(error) => {
            let message = format!("TCP port {port} cannot be bound: {error}");
            Finding::warn(subject, message, "bring the loopback interface up: ip link set lo up")
        }
    }
}

fn cipher(cipher: Cipher) -> Finding {
    let why = match cipher {
        Cipher::AesGcm => "this processor has instructions for it",
        Cipher::ChaChaPoly => "this processor has no instructions for AES",
    };
    Finding::ok("cipher", format!("direct links would use {cipher}: {why}"))
}

fn group() -> Finding {
    let survivors = |nodes| tolerates(voters_for(nodes));
    let message = format!(
        "alone it survives {} failures; a grid of 3 nodes survives {}, of 5 nodes {}",
        survivors(1),
        survivors(3),
        survivors(5)
    );
    Finding::ok("fault tolerance", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use orbit_mesh::Interface;

    fn survey_with(interfaces: Vec<Interface>, port_state: PortState) -> Survey {
        Survey { interfaces: Ok(interfaces), port: 4001, port_state, cipher: Cipher::ChaChaPoly }
    }

    #[test]
    fn discovery_needs_an_interface() {
        let interface = Interface {
            name: "eth0".to_owned(),
            addresses: vec![[10, 0, 0, 2].into()],
            up: true,
            loopback: false,
            multicast: true,
        };
        let cable_out = Interface { up: false, ..interface.clone() };
        assert_eq!(discovery(&survey_with(vec![cable_out], PortState::Free)).level, Level::Warn);
        let found = discovery(&survey_with(vec![interface], PortState::Free));
        assert_eq!(found.message, "other nodes can be found by mDNS on eth0 (10.0.0.2)");
    }

    #[test]
    fn a_taken_port_is_told() {
        assert_eq!(listening(&survey_with(vec![], PortState::Free), false).level, Level::Ok);
        assert_eq!(listening(&survey_with(vec![], PortState::InUse), false).level, Level::Warn);
        assert_eq!(listening(&survey_with(vec![], PortState::InUse), true).level, Level::Ok);
        assert!(group().message.contains("3 nodes survives 1, of 5 nodes 2"));
    }
}
