//! How this node stands in its grid: the daemon, the Nucleus, clocks, reachability both ways, the certificate.

use super::Finding;
use crate::api::client::{ApiClient, ClientError};
use crate::api::types::{ReachView, ThisNode};
use crate::daemon::DaemonError;
use crate::daemon::config::Config;
use crate::daemon::data_dir::DataDir;
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_core::grid::refusal::span;
use orbit_mesh::pki::MemberCertificate;
use std::path::Path;

/// Clocks may differ by this much, milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// Looks at the node of `data_dir`, if there is one.
pub(super) fn examine(data_dir: &Path, found: &mut dyn FnMut(Finding)) {
    let home = DataDir::new(data_dir);
    let membership = match home.membership() {
        Ok(membership) => membership,
        Err(DaemonError::NotInGrid { .. }) => {
            found(Finding::ok("grid", "this machine is not in a grid"));
            return;
        }
        Err(error) => {
            found(Finding::fail(
                "grid",
                chain(&error),
                "join again: remove the file, then orbit node join TOKEN",
            ));
            return;
        }
    };
    match Config::load(&home.star_toml()) {
        Ok(config) => allowed(&config, found),
        Err(error) => {
            found(Finding::fail("configuration", chain(&error), "correct star.toml; docs/cli.md shows one"));
        }
    }
    match MemberCertificate::parse(&membership.certificate) {
        Ok(certificate) => found(certificate_age(&certificate, now_ms())),
        Err(error) => {
            found(Finding::fail("certificate", chain(&error), "remove this node elsewhere and join again"));
        }
    }
    let asked =
        ApiClient::connect(data_dir).and_then(|client| Ok((client.get::<ThisNode>("/v1/node")?, client)));
    match asked {
        Ok((this, client)) => {
            connected(&this, found);
            if this.trouble.is_none() {
                reachable(&client, &this, found);
            }
        }
        Err(ClientError::NotRunning { .. }) => {
            let fix = "start it: orbit node run, or systemctl start orbit";
            found(Finding::fail("daemon", "this machine is in a grid, but its node does not run", fix));
        }
        Err(error) => {
            found(Finding::fail("daemon", chain(&error), "restart it: orbit node run"));
        }
    }
}

fn allowed(config: &Config, found: &mut dyn FnMut(Finding)) {
    let missing: Vec<_> = config.allowed_paths.iter().filter(|path| !path.is_dir()).collect();
    for path in &missing {
        let message = format!("the allowed path {} is no directory now", path.display());
        found(Finding::warn("jail", message, "mount the disk, or correct allowed_paths in star.toml"));
    }
    if missing.is_empty() {
        let paths: Vec<String> = config.allowed_paths.iter().map(|path| path.display().to_string()).collect();
        let list = if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") };
        found(Finding::ok("jail", format!("the grid may reach {list}")));
    }
}

fn certificate_age(certificate: &MemberCertificate, now_ms: i64) -> Finding {
    let subject = "certificate";
    let left = certificate.not_after_ms - now_ms;
    let life = certificate.not_after_ms - certificate.not_before_ms;
    if now_ms < certificate.not_before_ms {
        let ahead = span(certificate.not_before_ms - now_ms);
        let message = format!("it begins in {ahead}: this machine's clock is behind");
        Finding::fail(subject, message, "set the clock: timedatectl set-ntp true")
    } else if left <= 0 {
        let message = format!("it ended {} ago", span(-left));
        Finding::warn(subject, message, "start the node: it gets a new one from the Nucleus by its key")
    } else if left < life / 6 {
        let message = format!("it ends in {} and was not renewed", span(left));
        Finding::warn(subject, message, "start the node: it renews by itself when the Nucleus can be reached")
    } else {
        Finding::ok(subject, format!("valid for another {}", span(left)))
    }
}

fn connected(this: &ThisNode, found: &mut dyn FnMut(Finding)) {
    let name = &this.name;
    match (&this.trouble, this.is_nucleus) {
        (Some(trouble), _) => found(Finding::fail(
            "nucleus",
            format!("{name} is not connected to the Nucleus of grid {}: {trouble}", this.grid.name),
            "look whether `orbit node run` runs on the Nucleus, and whether TCP port 4001 gets through",
        )),
        (None, true) => {
            found(Finding::ok("nucleus", format!("{name} is the Nucleus of grid {}", this.grid.name)));
        }
        (None, false) => {
            let rtt = this.heartbeat_rtt.map_or_else(String::new, |rtt| {
                format!(
                    "; heartbeats take {:.1} ms, 99 of 100 below {:.1} ms",
                    ms(rtt.p50_us),
                    ms(rtt.p99_us)
                )
            });
            found(Finding::ok(
                "nucleus",
                format!("{name} is connected to the Nucleus of grid {}{rtt}", this.grid.name),
            ));
        }
    }
    if let Some(ahead) = this.clock_ahead_ms {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        if ahead.abs() > CLOCK_TOLERANCE_MS {
            let message = format!("this clock is {} {side} the Nucleus's", span(ahead.abs()));
            found(Finding::warn("clock in the grid", message, "set it: timedatectl set-ntp true"));
        } else {
            found(Finding::ok("clock in the grid", format!("{} ms {side} the Nucleus's", ahead.abs())));
        }
    }
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn reachable(client: &ApiClient, this: &ThisNode, found: &mut dyn FnMut(Finding)) {
    let subject = "reachability";
    match client.post::<ReachView>(&format!("/v1/nodes/{}/reach", this.id), &()) {
        Ok(reach) if reach.reached.is_empty() => {
            let tried = if reach.tried.is_empty() { "no address".to_owned() } else { reach.tried.join(", ") };
            found(Finding::warn(
                subject,
                format!("the Nucleus cannot dial this node at {tried}; this node can dial the Nucleus"),
                "let TCP port 4001 in through the firewall; scans and hashes work all the same",
            ));
        }
        Ok(reach) => found(Finding::ok(
            subject,
            format!("the Nucleus reaches this node at {}", reach.reached.join(", ")),
        )),
        Err(error) => {
            found(Finding::warn(subject, chain(&error), "ask again when the Nucleus answers: orbit status"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use orbit_core::grid::Role;
    use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};

    #[test]
    fn a_certificate_is_judged_by_its_age() {
        let certificate = MemberCertificate {
            node: NodeId::from_bytes([1; 16]),
            grid: GridId::from_bytes([2; 16]),
            key: PeerKey::from_bytes([3; 32]),
            role: Role::Star,
            serial: Serial::from_bytes([4; 16]),
            not_before_ms: 0,
            not_after_ms: 600_000,
        };
        for (now, level) in [
            (-1, Level::Fail),
            (0, Level::Ok),
            (500_000, Level::Ok),
            (500_001, Level::Warn),
            (600_000, Level::Warn),
        ] {
            assert_eq!(certificate_age(&certificate, now).level, level, "at {now}");
        }
    }
}
