//! Where links are listened for, and what others are told of it.

use orbit_mesh::Multiaddr;
use std::net::{IpAddr, SocketAddr};

/// The addresses of the mesh's listeners, with the port for links.
pub(super) fn to_listen_on(listen: &[String], port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for ip in listen.iter().filter_map(|text| ip_of(&text.parse().ok()?)) {
        let address = SocketAddr::new(ip, port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Where others can reach the listeners. An unspecified address stands for those of all interfaces, which `own` names.
/// Loopback addresses, and those that mean something on one network only, are told when there are no others: several nodes
/// may run on one machine.
pub(super) fn to_be_told(listening: &[SocketAddr], own: &[Multiaddr]) -> Vec<SocketAddr> {
    let own: Vec<IpAddr> = own.iter().filter_map(ip_of).filter(|ip| !ip.is_unspecified()).collect();
    let mut all: Vec<SocketAddr> = Vec::new();
    for listener in listening {
        let same_family = own.iter().filter(|ip| ip.is_ipv4() == listener.is_ipv4());
        let ips =
            if listener.ip().is_unspecified() { same_family.copied().collect() } else { vec![listener.ip()] };
        for address in ips.into_iter().map(|ip| SocketAddr::new(ip, listener.port())) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
    }
    let is_useful = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    if all.iter().any(is_useful) {
        all.retain(is_useful);
    }
    all
}

/// The addresses that another star told, as they are to be tried: first those of the machine with which the mesh talks.
pub(super) fn to_try(told: &[String], met_at: Option<&Multiaddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = told.iter().filter_map(|text| text.parse().ok()).collect();
    let Some(met) = met_at.and_then(ip_of) else { return addresses };
    // It may be one that the other does not know, as behind a router that forwards its ports.
    if let Some(port) = addresses.first().map(SocketAddr::port)
        && !addresses.iter().any(|address| address.ip() == met)
    {
        addresses.insert(0, SocketAddr::new(met, port));
    }
    addresses.sort_by_key(|address| address.ip() != met);
    addresses
}

/// The IP address in a multiaddress.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    let text = address.to_string();
    let mut parts = text.split('/').skip(1);
    matches!(parts.next(), Some("ip4" | "ip6")).then(|| parts.next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn multi(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().expect("a multiaddress")).collect()
    }

    #[test]
    fn links_are_listened_for_where_the_mesh_listens() {
        let listen =
            ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001", "/ip4/0.0.0.0/tcp/4002"].map(str::to_owned);
        assert_eq!(to_listen_on(&listen, 0), sockets(&["0.0.0.0:0", "[::]:0"]));
        assert_eq!(to_listen_on(&listen, 4100), sockets(&["0.0.0.0:4100", "[::]:4100"]));
    }

    #[test]
    fn what_is_told_leads_here() {
        let own = multi(&[
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/10.77.0.1/tcp/4001",
            "/ip6/::1/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/ip6/fd00::1/tcp/4001",
        ]);
        let everywhere = sockets(&["0.0.0.0:5", "[::]:5"]);
        assert_eq!(to_be_told(&everywhere, &own), sockets(&["10.77.0.1:5", "[fd00::1]:5"]));
        assert_eq!(to_be_told(&sockets(&["127.0.0.1:5"]), &own), sockets(&["127.0.0.1:5"]));
        assert_eq!(to_be_told(&sockets(&["0.0.0.0:5"]), &own[..1]), sockets(&["127.0.0.1:5"]));
    }

    #[test]
    fn where_the_mesh_meets_the_other_is_tried_first() {
        let told = ["10.0.0.1:5", "10.77.0.1:5", "no address"].map(str::to_owned);
        let met = multi(&["/ip4/10.77.0.1/tcp/4001", "/ip4/192.0.2.1/tcp/4001"]);
        assert_eq!(to_try(&told, Some(&met[0])), sockets(&["10.77.0.1:5", "10.0.0.1:5"]));
        assert_eq!(to_try(&told, Some(&met[1])), sockets(&["192.0.2.1:5", "10.0.0.1:5", "10.77.0.1:5"]));
        assert_eq!(to_try(&told, None), sockets(&["10.0.0.1:5", "10.77.0.1:5"]));
    }
}
