//! [`Sharer`]: makes the files of a set use one storage.

use super::super::Context;
use super::super::observer::RunEvent;
use super::Storage;
use super::extents::{self, Comparison};
use super::forest::{DeviceId, Faults, Forest};
use super::sets::{FoundSet, Member};
use orbit_core::ContentHash;
use orbit_core::system::{SourceFile, SystemError};
use rustix::io::Errno;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Shares the storage of duplicates, set by set. Which files may share is the kernel's decision.
pub(super) struct Sharer<'s> {
    context: &'s Context,
    forest: &'s Forest<'s>,
    /// Devices that cannot share, and where they are mounted.
    unsupported: BTreeMap<DeviceId, PathBuf>,
}

/// A file whose storage others are given.
struct Kept<'m> {
    member: &'m Member,
    file: Box<dyn SourceFile>,
}

/// What became of one file.
enum Attempt {
    Done(Storage),
    /// No kept file lies on its file system.
    NoneWithin,
    Failed(SystemError),
}

impl<'s> Sharer<'s> {
    pub fn new(context: &'s Context, forest: &'s Forest<'s>) -> Self {
        Self { context, forest, unsupported: BTreeMap::new() }
    }

    /// Where file systems are mounted that held duplicates and cannot share.
    pub fn mounts_unsupported(&self) -> Vec<PathBuf> {
        self.unsupported.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Shares what can be shared, and writes into the set what became of its files.
    pub fn share(&mut self, found: &mut FoundSet, faults: &mut Faults) {
        let FoundSet { set, members } = found;
        let mut kept: Vec<Kept<'_>> = Vec::new();
        for index in order_of_keeping(members) {
            let member = &members[index];
            if !self.forest.site(member.tree).is_local() {
                continue;
            }
            if self.context.stop.load(Ordering::Relaxed) {
                return;
            }
            if kept.iter().any(|kept| shares_storage(kept.member, member)) {
                continue;
            }
            let is_supported = !self.unsupported.contains_key(&member.dev);
            let opened = if is_supported { member.open(self.forest, set.size) } else { continue };
            let attempt = match opened {
                Err(error) => Attempt::Failed(error),
                Ok((file, _)) => match self.share_with_any(&kept, member, file.as_ref(), set.size) {
                    Attempt::NoneWithin => {
                        kept.push(Kept { member, file });
                        continue;
                    }
                    attempt => attempt,
                },
            };
            set.files[index].storage = match attempt {
                Attempt::Done(storage) => storage,
                Attempt::Failed(error) => {
                    let has_changed = matches!(error, SystemError::Changed { .. });
                    faults.report(self.forest, member.tree, error);
                    if has_changed { Storage::Differs } else { Storage::Refused }
                }
                Attempt::NoneWithin => continue,
            };
        }
    }

    /// Gives `file` the storage of the first kept file that lies on the same file system. That is tried rather than
    /// deduced: subvolumes of btrfs have device numbers of their own.
    fn share_with_any(
        &mut self,
        kept: &[Kept<'_>],
        member: &Member,
        file: &dyn SourceFile,
        size: u64,
    ) -> Attempt {
        for kept in kept {
            let (Some(source), Some(destination)) = (kept.file.descriptor(), file.descriptor()) else {
                continue;
            };
            match extents::share(source, destination, size, &self.context.stop) {
                Ok(Comparison::Shared(bytes)) => return Attempt::Done(Storage::SharedNow { bytes }),
                Ok(Comparison::Differs) => {
                    return Attempt::Failed(SystemError::Changed { path: member.path.clone() });
                }
                Err(Errno::XDEV) => {}
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) if kept.member.dev != member.dev => {}
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => {
                    self.note_unsupported(member);
                    return Attempt::Done(Storage::Unsupported);
                }
                Err(errno) => {
                    return Attempt::Failed(SystemError::io("share the storage of", &member.path)(
                        errno.into(),
                    ));
                }
            }
        }
        Attempt::NoneWithin
    }

    fn note_unsupported(&mut self, member: &Member) {
        let Some(path) = self.forest.local_path(member.tree, &member.path) else { return };
        let mount = mount_of(&path, member.dev.1);
        self.context.observer.event(&RunEvent::Notice(&format!(
            "the file system at {} cannot share storage between files: that needs btrfs, or XFS with reflinks; \
             nothing was changed there",
            mount.display()
        )));
        self.unsupported.insert(member.dev, mount);
    }
}

fn shares_storage(a: &Member, b: &Member) -> bool {
    a.dev == b.dev && a.layout.is_some() && a.layout == b.layout
}

/// Which files are best kept: those that most others share already, then those that occupy least, then the first.
fn order_of_keeping(members: &[Member]) -> Vec<usize> {
    let mut sharing: HashMap<(DeviceId, ContentHash), usize> = HashMap::new();
    for member in members {
        if let Some(layout) = member.layout {
            *sharing.entry((member.dev, layout)).or_default() += 1;
        }
    }
    let together = |member: &Member| {
        member.layout.and_then(|layout| sharing.get(&(member.dev, layout))).copied().unwrap_or(1)
    };
    let mut order: Vec<_> = (0..members.len()).collect();
    order.sort_by_key(|&index| (Reverse(together(&members[index])), members[index].allocated));
    order
}

/// The highest directory above a file that is on the same device.
fn mount_of(path: &Path, dev: u64) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let within = |at: &&Path| std::fs::metadata(at).is_ok_and(|metadata| metadata.dev() == dev);
    path.ancestors().skip(1).take_while(within).last().unwrap_or(&path).to_path_buf()
}
