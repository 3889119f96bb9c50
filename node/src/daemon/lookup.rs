//! From what a person writes as an address to addresses that can be dialled.

use super::error::DaemonError;
use orbit_mesh::{DEFAULT_PORT, Multiaddr};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Addresses one name is tried at, at most.
const ADDRESSES_MAX: usize = 16;

/// Reads `HOST`, `HOST:PORT`, `IPV4:PORT`, `IPV6`, `[IPV6]:PORT` or a multiaddress, and looks names up.
pub(super) async fn resolve(written: &str) -> Result<Vec<Multiaddr>, DaemonError> {
    let refused = |reason: String| DaemonError::Address { address: written.to_owned(), reason };
    if written.starts_with('/') {
        let address = written.parse::<Multiaddr>().map_err(|error| refused(error.to_string()))?;
        return Ok(vec![address]);
    }
    let (host, port) =
        split(written).ok_or_else(|| refused("it is neither a name nor an address".to_owned()))?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![multiaddr(SocketAddr::new(ip, port))]);
    }
    let unknown = |reason| DaemonError::UnknownHost { host: host.to_owned(), reason };
    let lookup = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        tokio::net::lookup_host((host.to_owned(), port)),
    );
    let found = match lookup.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(unknown(error.to_string())),
        Err(_) => return Err(unknown("it takes too long".to_owned())),
    };
    let addresses: Vec<Multiaddr> = found.take(ADDRESSES_MAX).map(multiaddr).collect();
    if addresses.is_empty() { Err(unknown("it has no address".to_owned())) } else { Ok(addresses) }
}

/// Host and port, which is 4001 unless written.
fn split(written: &str) -> Option<(&str, u16)> {
    if let Some(rest) = written.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = if port.is_empty() { DEFAULT_PORT } else { port.strip_prefix(':')?.parse().ok()? };
        return Some((host, port));
    }
    if written.parse::<Ipv6Addr>().is_ok() {
        return Some((written, DEFAULT_PORT));
    }
    let (host, port) = match written.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (written, DEFAULT_PORT),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!host.is_empty() && host.len() <= 253 && host.chars().all(is_name)).then_some((host, port))
}

/// The multiaddress of a TCP socket.
pub(super) fn multiaddr(address: SocketAddr) -> Multiaddr {
    let family = if address.is_ipv4() { "ip4" } else { "ip6" };
    let text = format!("/{family}/{}/tcp/{}", address.ip(), address.port());
    text.parse().expect("an IP address and a port make a multiaddress")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolved(written: &str) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let found = runtime.block_on(resolve(written)).map_err(|error| error.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (written, multiaddr) in [
            ("192.0.2.7", "/ip4/192.0.2.7/tcp/4001"),
            ("192.0.2.7:5000", "/ip4/192.0.2.7/tcp/5000"),
            ("2001:db8::7", "/ip6/2001:db8::7/tcp/4001"),
            ("[2001:db8::7]:5000", "/ip6/2001:db8::7/tcp/5000"),
            ("[2001:db8::7]", "/ip6/2001:db8::7/tcp/4001"),
            ("/ip4/192.0.2.7/tcp/4001", "/ip4/192.0.2.7/tcp/4001"),
        ] {
            assert_eq!(resolved(written), Ok(vec![multiaddr.to_owned()]), "{written}");
        }
        assert!(
            resolved("localhost:4001")
                .expect("every machine knows itself")
                .iter()
                .all(|a| a.ends_with("/tcp/4001"))
        );
    }

    #[test]
    fn what_is_no_address_is_told() {
        for written in
            ["", ":4001", "host:port", "host:99999", "[::1", "[host]:1", "a b", "/ip4/x", "http://a"]
        {
            let error = resolved(written).expect_err(written);
            assert!(error.contains(&format!("the address {written}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_not(text in "\\PC{0,60}") {
            let _ = split(&text);
        }
    }
}
