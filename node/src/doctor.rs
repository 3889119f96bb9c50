//! The doctor: looks whether this machine is fit for Orbit. Each [`Finding`] that is not well comes with its fix.
//!
//! It changes nothing that lasts: probes write to nameless files, or to files that are removed at once, and a state
//! directory that does not exist yet is not made.

mod grid;
mod machine;
mod network;
mod place;
mod state;

use std::path::PathBuf;

pub use orbit_mesh::DEFAULT_PORT;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Orbit works, but worse than it could.
    Warn,
    /// Orbit does not work, or not safely.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How well it is.
    pub level: Level,
    /// What was looked at, one or two words.
    pub subject: &'static str,
    /// What was found.
    pub message: String,
    /// What to do about it, as a command where one does it.
    pub fix: Option<String>,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Checkup {
    /// Orbit's state directory.
    pub state_dir: PathBuf,
    /// Directories whose file systems are tried.
    pub paths: Vec<PathBuf>,
    /// The port a node would listen on.
    pub port: u16,
}

/// Looks at everything, and hands over each finding as soon as it is known. Takes seconds at most, on slow disks.
pub fn examine(checkup: &Checkup, found: &mut dyn FnMut(Finding)) {
    let is_running = crate::api::client::ApiClient::connect(&checkup.state_dir).is_ok();
    state::examine(&checkup.state_dir, is_running, found);
    machine::examine(&checkup.state_dir, found);
    for path in &checkup.paths {
        place::examine(path, found);
    }
    grid::examine(&checkup.state_dir, found);
    network::examine(checkup.port, is_running, found);
}

impl Finding {
    fn ok(subject: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, message: message.into(), fix: None }
    }

    fn warn(subject: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, subject, message: message.into(), fix: Some(fix.into()) }
    }

    fn fail(subject: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, subject, message: message.into(), fix: Some(fix.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn examined(state_dir: PathBuf, paths: Vec<PathBuf>) -> Vec<Finding> {
        let mut findings = Vec::new();
        examine(&Checkup { state_dir, paths, port: 0 }, &mut |finding| findings.push(finding));
        findings
    }

    fn level_of(findings: &[Finding], subject: &str) -> Option<Level> {
        findings.iter().filter(|finding| finding.subject == subject).map(|finding| finding.level).max()
    }

    #[test]
    fn a_healthy_directory_passes_and_nothing_is_left() {
        let place = tempfile::tempdir().expect("a directory");
        let state = place.path().join("state");
        fs::create_dir(&state).expect("a directory");
        let findings = examined(state.clone(), vec![place.path().to_owned()]);
        assert_eq!(level_of(&findings, "state directory"), Some(Level::Ok));
        assert_eq!(fs::read_dir(&state).expect("readable").count(), 0);
        assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 1);
        for finding in findings {
            assert_eq!(finding.fix.is_some(), finding.level != Level::Ok, "{finding:?}");
        }
    }

    #[test]
    fn a_state_directory_to_come_is_well_and_not_made() {
        let place = tempfile::tempdir().expect("a directory");
        let state = place.path().join("to/come");
        assert_eq!(level_of(&examined(state.clone(), vec![]), "state directory"), Some(Level::Ok));
        assert!(!state.exists());
    }

    #[test]
    fn what_is_wrong_fails_with_a_fix() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("file");
        fs::write(&file, "no directory").expect("writable");
        let findings = examined(file.clone(), vec![file, place.path().join("missing")]);
        assert_eq!(level_of(&findings, "state directory"), Some(Level::Fail));
        assert_eq!(findings.iter().filter(|f| f.subject == "path" && f.level == Level::Fail).count(), 2);
    }

    #[test]
    fn a_damaged_database_fails() {
        let state = tempfile::tempdir().expect("a directory");
        fs::write(state.path().join(crate::standalone::state::JOBS_FILE), "this is no database at all")
            .expect("writable");
        assert_eq!(level_of(&examined(state.path().to_owned(), vec![]), "run database"), Some(Level::Fail));
    }
}
