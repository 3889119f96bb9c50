//! Interfaces from what the kernel shows as text: names and flags from `/sys/class/net`, IPv6 addresses from
//! `/proc/net/if_inet6`, IPv4 addresses from `/proc/net/fib_trie`, which does not name interfaces: the directly
//! connected networks of `/proc/net/route` do. An address outside every connected network (a lone /32) is left out.

use super::{Interface, InterfaceError};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

// Flags of `/sys/class/net/*/flags`, from the kernel's <linux/if.h>.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_MULTICAST: u32 = 0x1000;

/// This machine's interfaces, sorted by name.
pub fn interfaces() -> Result<Vec<Interface>, InterfaceError> {
    let root = Path::new("/sys/class/net");
    let failed = |source| InterfaceError::Read { path: root.to_owned(), source };
    let ipv4 = ipv4_addresses(&read_if_there("/proc/net/fib_trie")?);
    let routes = connected_networks(&read_if_there("/proc/net/route")?);
    let ipv6 = ipv6_addresses(&read_if_there("/proc/net/if_inet6")?);
    let mut interfaces = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Plain files (`bonding_masters`) and interfaces that vanish meanwhile have no flags.
        let Ok(flags) = fs::read_to_string(entry.path().join("flags")) else { continue };
        let state = fs::read_to_string(entry.path().join("operstate")).unwrap_or_default();
        let mut interface = describe(name, &flags, &state);
        let mine = ipv4.iter().filter(|address| {
            if interface.loopback {
                address.is_loopback()
            } else {
                owner(**address, &routes) == Some(&interface.name)
            }
        });
        interface.addresses = mine.copied().map(IpAddr::V4).collect();
        let mine = ipv6.iter().filter(|(_, name)| *name == interface.name);
        interface.addresses.extend(mine.map(|(address, _)| IpAddr::V6(*address)));
        interfaces.push(interface);
    }
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(interfaces)
}

/// A kernel without IPv4 or IPv6 lacks the file: no addresses then.
fn read_if_there(path: &str) -> Result<String, InterfaceError> {
    match fs::read_to_string(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(InterfaceError::Read { path: path.into(), source })
        }
        result => Ok(result.unwrap_or_default()),
    }
}

fn describe(name: String, flags: &str, state: &str) -> Interface {
    let hex = flags.trim().trim_start_matches("0x");
    let flags = u32::from_str_radix(hex, 16).unwrap_or(0);
    Interface {
        name,
        addresses: Vec::new(),
        // Tunnels and loopback say "unknown": they have no carrier to tell of.
        up: flags & IFF_UP != 0 && matches!(state.trim(), "up" | "unknown" | ""),
        loopback: flags & IFF_LOOPBACK != 0,
        multicast: flags & IFF_MULTICAST != 0,
    }
}

/// Local IPv4 addresses of `/proc/net/fib_trie`: a line `|-- 10.0.0.2` followed by `/32 host LOCAL`.
fn ipv4_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut addresses = Vec::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(leaf);
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// A directly connected network.
struct Network {
    interface: String,
    address: u32,
    mask: u32,
}

/// Routes without a gateway of `/proc/net/route`: name, destination, gateway, flags, three counters, mask. Addresses are
/// hexadecimal as they lie in memory, so on a little-endian machine their bytes are reversed.
fn connected_networks(routes: &str) -> Vec<Network> {
    let address =
        |field: &str| u32::from_str_radix(field, 16).ok().map(|raw| u32::from_be_bytes(raw.to_ne_bytes()));
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let connected = *fields.get(2)? == "00000000";
        let network = Network {
            interface: (*fields.first()?).to_owned(),
            address: address(fields.get(1)?)?,
            mask: address(fields.get(7)?)?,
        };
        (connected && network.mask != 0).then_some(network)
    };
    routes.lines().skip(1).filter_map(parse).collect()
}

/// The interface with the narrowest connected network around `address`.
fn owner(address: Ipv4Addr, networks: &[Network]) -> Option<&String> {
    let holds = |network: &&Network| address.to_bits() & network.mask == network.address;
    networks.iter().filter(holds).max_by_key(|network| network.mask).map(|network| &network.interface)
}

/// Addresses of `/proc/net/if_inet6`: 32 hexadecimal digits, index, prefix, scope, flags, name.
fn ipv6_addresses(table: &str) -> Vec<(Ipv6Addr, String)> {
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        Some((Ipv6Addr::from_bits(address), fields.nth(4)?.to_owned()))
    };
    table.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_addresses_go_to_the_narrowest_network() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.0.1.7\n        \
                    /32 host LOCAL\n     |-- 10.0.1.255\n        /32 link BROADCAST\nLocal:\n     |-- 10.0.1.7\n        \
                    /32 host LOCAL\n";
        let addresses = ipv4_addresses(trie);
        assert_eq!(addresses, [Ipv4Addr::new(10, 0, 1, 7), Ipv4Addr::LOCALHOST]);
        let hex = |a: u8, b: u8, c: u8, d: u8| format!("{:08X}", u32::from_ne_bytes([a, b, c, d]));
        let none = hex(0, 0, 0, 0);
        let route = |name: &str, to: &str, via: &str, mask: &str| {
            format!("{name}\t{to}\t{via}\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n")
        };
        let table = [
            "Iface\tDestination\n".to_owned(),
            route("eth0", &none, &hex(10, 0, 0, 1), &none),
            route("eth0", &hex(10, 0, 0, 0), &none, &hex(255, 0, 0, 0)),
            route("br0", &hex(10, 0, 1, 0), &none, &hex(255, 255, 255, 0)),
            "short line\n".to_owned(),
        ]
        .concat();
        let networks = connected_networks(&table);
        assert_eq!(networks.len(), 2, "the default route is not a connected network");
        assert_eq!(owner(addresses[0], &networks).map(String::as_str), Some("br0"));
        assert_eq!(owner(Ipv4Addr::new(192, 0, 2, 1), &networks), None);
    }

    #[test]
    fn ipv6_addresses_carry_their_interface() {
        let table = "fe80000000000000fc00fffffe000001 04 40 20 80     eth0\nnonsense\n";
        let address = "fe80::fc00:ffff:fe00:1".parse().expect("an address");
        assert_eq!(ipv6_addresses(table), [(address, "eth0".to_owned())]);
    }

    #[test]
    fn flags_and_state() {
        let cable_out = describe("eth0".into(), "0x1003\n", "down\n");
        assert!(!cable_out.up && cable_out.multicast && !cable_out.loopback);
        let loopback = describe("lo".into(), "0x9\n", "unknown\n");
        assert!(loopback.up && loopback.loopback && !loopback.multicast);
        assert!(!describe("x".into(), "junk", "up").up);
    }
}
