//! The committing thread: flushes, verifies and renames what workers staged, while they stage on.

use super::copy;
use super::run::Run;
use super::stage::{Staged, StagedDirectory, StagedStep};
use crate::local::writer::AlignedBuffer;
use orbit_core::RelPath;
use orbit_core::system::SystemError;
use orbit_core::writer::{AttributeChange, OrbitWriter, StagedName};
use std::sync::atomic::Ordering;

impl Run<'_> {
    /// Renames a group into place, directories first and parents before children. Gives the number of faults.
    pub(super) fn commit(&self, group: Vec<StagedStep>, buffer: &mut AlignedBuffer) -> u64 {
        let (mut directories, mut alone) = (Vec::new(), Vec::new());
        for step in group {
            directories.extend(step.directories);
            alone.extend(step.alone);
        }
        directories.sort_by(|a, b| a.path.cmp(&b.path));
        let in_directories: u64 = directories.iter().map(|d| self.commit_directory(d, buffer)).sum();
        in_directories + alone.iter().map(|staged| self.commit_alone(staged, buffer)).sum::<u64>()
    }

    fn commit_directory(&self, directory: &StagedDirectory, buffer: &mut AlignedBuffer) -> u64 {
        let mut faults = 0;
        let mut lost = directory.failed.clone();
        for (name, pieces) in &directory.files {
            let staged = directory.name.0.join(name).map(StagedName);
            let path = directory.path.join(name).expect("the planner joined it before");
            let checked = staged.map_or(Ok(()), |staged| self.check(&staged, pieces, &path, buffer));
            if let Err(error) = checked {
                faults += 1;
                self.fault(&path, &error);
                lost.push(name.clone());
            }
        }
        if let Some(name) = lost.iter().find(|name| self.is_still_staged(directory, name)) {
            // Renaming the directory would put it in place.
            let path = directory.path.join(name).unwrap_or_default();
            return faults + self.give_up_directory(directory, &SystemError::Corrupt { path });
        }
        let committed = self.writer.commit_directory(
            &directory.name,
            &directory.path,
            directory.expected.as_ref(),
            self.disposal(),
        );
        match committed {
            Ok(failed) => {
                self.let_others_in(directory);
                for (name, error) in &failed {
                    self.fault(&directory.path.join(name).unwrap_or_default(), error);
                }
                let failed = failed.len() as u64;
                let done = directory.files.len() as u64 - faults - failed;
                self.counters.files_new.fetch_add(done, Ordering::Relaxed);
                faults + failed
            }
            Err(error) => faults + self.give_up_directory(directory, &error),
        }
    }

    /// Without `--no-perms` a new directory gets its mode at the end, with its times. With it, it gets what any program
    /// would give it, since it was staged as private.
    fn let_others_in(&self, directory: &StagedDirectory) {
        if self.request.permissions {
            return;
        }
        let mut attributes = directory.source.attributes;
        attributes.mode = attributes.mode & 0o777 & !self.privilege.umask;
        let change = AttributeChange { attributes, set_mode: true, set_owner: false, xattrs: None };
        if let Err(error) = self.writer.set_attributes(&directory.path, &change) {
            self.fault(&directory.path, &error);
        }
    }

    fn give_up_directory(&self, directory: &StagedDirectory, error: &SystemError) -> u64 {
        self.writer.discard(&directory.name);
        let inside = directory.files.len() as u64;
        self.counters.files_failed.fetch_add(inside, Ordering::Relaxed);
        self.fault(&directory.path, error);
        inside + 1
    }

    /// Whether something that was thrown away is there all the same, because removing it failed too.
    fn is_still_staged(&self, directory: &StagedDirectory, name: &[u8]) -> bool {
        let staged = directory.name.0.join(name).map(StagedName);
        staged.is_ok_and(|staged| !matches!(self.writer.reopen_staged(&staged), Ok(None)))
    }

    fn commit_alone(&self, staged: &Staged, buffer: &mut AlignedBuffer) -> u64 {
        let result = self.check(&staged.name, &staged.pieces, &staged.path, buffer).and_then(|()| {
            self.writer.commit(&staged.name, &staged.path, staged.expected.as_ref(), self.disposal())
        });
        if staged.has_checkpoint {
            self.forget_checkpoint(&staged.path);
        }
        if let Err(error) = result {
            self.writer.discard(&staged.name);
            self.fault(&staged.path, &error);
            return 1;
        }
        let counter = match staged.expected {
            Some(_) => &self.counters.files_changed,
            None => &self.counters.files_new,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        0
    }

    /// With `--verify`: reads a staged file back from the disk. What does not check out is discarded.
    fn check(
        &self,
        staged: &StagedName,
        pieces: &[copy::Piece],
        path: &RelPath,
        buffer: &mut AlignedBuffer,
    ) -> Result<(), SystemError> {
        if pieces.is_empty() {
            return Ok(());
        }
        let result = match self.writer.reopen_staged(staged)? {
            Some(mut file) => copy::verify(file.as_mut(), pieces, path, buffer),
            None => Err(SystemError::Corrupt { path: path.clone() }),
        };
        result.inspect_err(|_| self.writer.discard(staged))
    }
}
