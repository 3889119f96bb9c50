//! [`Committing`]: what the committer has in hand.

use super::Run;
use super::execute::Told;
use super::stage::{Staged, StagedDirectory, StagedStep};
use orbit_core::RelPath;
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, OrbitWriter, StagedName};
use std::collections::VecDeque;

/// A flush, or a group on its way into place.
pub enum Committing {
    /// A flush.
    Flush,
    /// A flush that is left out, by a planted bug.
    Nothing,
    /// A group.
    Group { directories: VecDeque<StagedDirectory>, alone: VecDeque<Staged>, faults: u64 },
}

impl Committing {
    /// Renames a group into place, directories first and parents before children.
    pub fn new(group: Vec<StagedStep>) -> Self {
        let (mut directories, mut alone) = (Vec::new(), VecDeque::new());
        for step in group {
            directories.extend(step.directories);
            alone.extend(step.alone);
        }
        directories.sort_by(|a, b| a.path.cmp(&b.path));
        Self::Group { directories: directories.into(), alone, faults: 0 }
    }

    /// Does one flush or commits one object. Gives the answer when there is nothing left.
    pub fn advance(&mut self, run: &Run<'_>) -> Option<Told> {
        match self {
            Self::Flush => Some(Told::Flushed(run.writer.flush())),
            Self::Nothing => Some(Told::Flushed(Ok(()))),
            Self::Group { directories, alone, faults } => {
                if let Some(directory) = directories.pop_front() {
                    *faults += commit_directory(run, &directory);
                } else if let Some(staged) = alone.pop_front() {
                    *faults += commit_alone(run, &staged);
                } else {
                    return Some(Told::Committed(*faults));
                }
                None
            }
        }
    }
}

fn commit_directory(run: &Run<'_>, directory: &StagedDirectory) -> u64 {
    let mut faults = 0;
    let mut failed = directory.failed.clone();
    for (name, bytes) in &directory.files {
        let staged = StagedName(directory.name.0.join(name).expect("the planner joined it before"));
        let path = directory.path.join(name).expect("the planner joined it before");
        if let Err(error) = check(run, &staged, bytes.as_deref(), &path) {
            faults += 1;
            failed.push(name.clone());
            note(run, &path, &error);
        }
    }
    // What failed was discarded, but that may have failed too.
    let is_left = |name: &Vec<u8>| {
        let staged = StagedName(directory.name.0.join(name).expect("the planner joined it before"));
        !matches!(run.writer.reopen_staged(&staged), Ok(None))
    };
    if failed.iter().any(is_left) {
        run.writer.discard(&directory.name);
        run.world.machine.note(format!("      -- fault: {}: half a file is left in it", directory.path));
        return faults + directory.files.len() as u64 + 1;
    }
    let expected = directory.expected.as_ref();
    match run.writer.commit_directory(&directory.name, &directory.path, expected, Disposal::Discard) {
        Ok(failed) => {
            for (_, error) in &failed {
                note(run, &directory.path, error);
            }
            faults + failed.len() as u64
        }
        Err(error) => {
            run.writer.discard(&directory.name);
            note(run, &directory.path, &error);
            faults + directory.files.len() as u64 + 1
        }
    }
}

fn commit_alone(run: &Run<'_>, staged: &Staged) -> u64 {
    let result = check(run, &staged.name, staged.bytes.as_deref(), &staged.path).and_then(|()| {
        run.writer.commit(&staged.name, &staged.path, staged.expected.as_ref(), Disposal::Discard)
    });
    if let Err(error) = result {
        run.writer.discard(&staged.name);
        note(run, &staged.path, &error);
        return 1;
    }
    0
}

/// Reads a staged file back. What does not check out is discarded.
fn check(
    run: &Run<'_>,
    staged: &StagedName,
    bytes: Option<&[u8]>,
    path: &RelPath,
) -> Result<(), SystemError> {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
    let read = || {
        let mut found = vec![0; bytes.len()];
        let Some(file) = run.writer.reopen_staged(staged)? else { return Ok(false) };
        let read = file.read_at(&mut found, 0).map_err(SystemError::io("read back", path))?;
        Ok(read == bytes.len() && found == bytes)
    };
    let result = match read() {
        Ok(true) => Ok(()),
        Ok(false) => Err(SystemError::Corrupt { path: path.clone() }),
        Err(error) => Err(error),
    };
    result.inspect_err(|_: &SystemError| run.writer.discard(staged))
}

fn note(run: &Run<'_>, path: &RelPath, error: &SystemError) {
    run.world.machine.note(format!("      -- fault: {path}: {error}"));
}
