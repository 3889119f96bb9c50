//! What the fuzz targets check, as plain functions, so that the seeds also run as an ordinary test.
//!
//! Reading order: [`check`] → [`seed`].

pub mod check;
pub mod seed;

/// What a target does with an input.
pub type Check = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Check)] = &[
    ("certificate", check::certificate),
    ("control", check::control),
    ("endpoint", check::endpoint),
    ("join", check::join),
    ("key_file", check::key_file),
    ("listing", check::listing),
    ("link", check::link),
    ("pulse", check::pulse),
    ("signed_certificate", check::signed_certificate),
    ("system", check::system),
    ("token", check::token),
    #[cfg(feature = "node")]
    ("config", check::node::config),
    #[cfg(feature = "node")]
    ("pack", check::node::pack),
    #[cfg(feature = "node")]
    ("remote", check::node::remote),
    #[cfg(feature = "node")]
    ("star", check::node::star),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_seed_passes() {
        for &(target, check) in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
            let seeds = std::fs::read_dir(&directory).unwrap_or_else(|_| panic!("{target} has seeds"));
            let mut count = 0;
            for seed in seeds {
                check(&std::fs::read(seed.expect("it is listed").path()).expect("it can be read"));
                count += 1;
            }
            assert!(count > 0, "{target} has seeds");
        }
        #[cfg(feature = "node")]
        assert!(check::node::calls_answered() > 12, "sessions get as far as calls");
    }

    #[test]
    fn every_target_is_in_the_manifest_and_no_other() {
        let manifest = include_str!("../Cargo.toml");
        for (target, _) in TARGETS {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
        }
        let left_out = if cfg!(feature = "node") { 0 } else { 4 };
        assert_eq!(manifest.matches("fuzz_targets/").count(), TARGETS.len() + left_out);
    }
}
