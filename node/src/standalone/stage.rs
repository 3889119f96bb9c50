//! What a worker does with a step: stage its objects, or apply it in place.

use super::ahead::Hands;
use super::copy::{self, Piece};
use super::observer::RunEvent;
use super::run::{ItemFault, Run};
use super::sync::Strictness;
use crate::remote::Fetched;
use orbit_core::compare::same_mtime;
use orbit_core::job::Weight;
use orbit_core::plan::{Change, DirectoryState, Group, Item, Phase, Step};
use orbit_core::system::{OrbitSystem, SourceFile, SystemError, Xattr};
use orbit_core::writer::{AttributeChange, Node, OrbitWriter, Place, StagedFile, StagedName};
use orbit_core::{EntryKind, Metadata, RelPath};
use std::io::ErrorKind;
use std::sync::atomic::Ordering;

/// What errors call it when attributes could not be set.
const SET_ATTRIBUTES: &str = "set the attributes of";

/// A staged object waiting for its commit.
pub(super) struct Staged {
    pub name: StagedName,
    pub path: RelPath,
    pub expected: Option<Metadata>,
    /// What was copied, to be verified before the commit.
    pub pieces: Vec<Piece>,
    /// Whether a checkpoint is to be forgotten after the commit.
    pub has_checkpoint: bool,
}

/// A staged object, before it is known where it waits.
struct Put {
    name: StagedName,
    pieces: Vec<Piece>,
    has_checkpoint: bool,
    /// An extended attribute that could not be kept.
    lost: Option<SystemError>,
}

/// A staged directory waiting for its commit, with the names of its files.
pub(super) struct StagedDirectory {
    pub name: StagedName,
    pub path: RelPath,
    /// The source's directory.
    pub source: Metadata,
    pub expected: Option<Metadata>,
    /// Files in it: name, and what was copied.
    pub files: Vec<(Vec<u8>, Vec<Piece>)>,
    /// Names of what failed half-way. It was thrown away; should it still be there, the directory must not be used.
    pub failed: Vec<Vec<u8>>,
}

/// What staging a step left to commit, in order.
#[derive(Default)]
pub(super) struct StagedStep {
    pub directories: Vec<StagedDirectory>,
    pub alone: Vec<Staged>,
    pub weight: Weight,
    pub faults: u64,
    pub no_space: bool,
}

/// How a worker ended a step.
pub(super) enum StepEnd {
    Done(StagedStep),
    GaveUp(StagedStep),
}

impl Run<'_> {
    /// Works on a step. Never fails as a whole: what failed is reported and counted.
    pub fn work(&self, step: &Step, hands: &mut Hands) -> StepEnd {
        let mut done = StagedStep::default();
        if let Err(error) = hands.reach_for(self, step, in_order(step)) {
            self.lose(&error);
            return StepEnd::GaveUp(done);
        }
        for group in in_order(step) {
            if self.group(group, &mut done, hands) == GroupEnd::Stopped {
                return StepEnd::GaveUp(done);
            }
        }
        StepEnd::Done(done)
    }

    fn group(&self, group: &Group, done: &mut StagedStep, hands: &mut Hands) -> GroupEnd {
        let mut directory = match &group.state {
            DirectoryState::Exists => {
                self.open_up(group);
                None
            }
            DirectoryState::New { source, existing } => {
                match self.new_directory(group, source, existing.as_ref()) {
                    Ok(directory) => Some(directory),
                    Err(error) => {
                        self.note_fault(&group.directory, &error, done);
                        done.faults += group.items.len() as u64;
                        self.counters.files_failed.fetch_add(group.items.len() as u64, Ordering::Relaxed);
                        return GroupEnd::Done;
                    }
                }
            }
        };
        let mut end = GroupEnd::Done;
        for item in &group.items {
            if self.is_stopping() {
                end = GroupEnd::Stopped;
                break;
            }
            let path = match &item.change {
                Change::Finish { .. } => group.directory.clone(),
                _ => group.directory.join(&item.name).expect("the planner joined it before"),
            };
            self.context.progress.set_current(|| path.display().into_owned());
            match self.item(&path, item, directory.as_mut(), done, hands) {
                Ok(()) => self.count_done(&item.change),
                Err(ItemFault::Stopped) => {
                    end = GroupEnd::Stopped;
                    self.give_up_in(directory.as_mut(), &item.name);
                    break;
                }
                Err(ItemFault::Lost(error)) => {
                    self.lose(&error);
                    end = GroupEnd::Stopped;
                    self.give_up_in(directory.as_mut(), &item.name);
                    break;
                }
                Err(ItemFault::Failed(error)) => {
                    self.note_fault(&path, &error, done);
                    if let Some(directory) = &mut directory {
                        directory.failed.push(item.name.clone());
                    }
                }
            }
        }
        if let Some(directory) = directory {
            done.weight.items += 1;
            done.directories.push(directory);
        }
        end
    }

    /// A file left half-way in a new directory must not go out with it: one that grew since it was planned may lie there,
    /// kept for a checkpoint.
    fn give_up_in(&self, directory: Option<&mut StagedDirectory>, name: &[u8]) {
        let Some(directory) = directory else { return };
        if let Ok(half) = directory.name.0.join(name) {
            self.writer.discard(&StagedName(half));
        }
        directory.failed.push(name.to_vec());
    }

    /// For the display: a file counts when it is staged, since its commit follows in one go with many others.
    fn count_done(&self, change: &Change) {
        if matches!(change, Change::Put { .. } | Change::Link { .. }) {
            self.context.progress.files_done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_fault(&self, path: &RelPath, error: &SystemError, done: &mut StagedStep) {
        done.faults += 1;
        // An attribute may find no room where there is plenty for files.
        let of_attributes =
            matches!(error, SystemError::Io { operation, .. } if *operation == SET_ATTRIBUTES);
        done.no_space |= error.is_no_space() && !of_attributes;
        self.fault(path, error);
    }

    /// Gives this user the right to change a directory of their own that is read-only. What the plan says of every
    /// directory it changes sets the mode at the end.
    fn open_up(&self, group: &Group) {
        let changes_names =
            |item: &Item| !matches!(item.change, Change::Finish { .. } | Change::Attributes { .. });
        if self.privilege.is_root || !self.request.permissions || !group.items.iter().any(changes_names) {
            return;
        }
        let Ok(found) = self.destination.metadata(&group.directory) else { return };
        let mut attributes = found.attributes;
        if attributes.uid == self.privilege.uid && attributes.mode & 0o300 != 0o300 {
            attributes.mode |= 0o300;
            let change = AttributeChange { attributes, set_mode: true, set_owner: false, xattrs: None };
            // If it fails, so does what needs it, with the better message.
            let _ = self.writer.set_attributes(&group.directory, &change);
        }
    }

    fn new_directory(
        &self,
        group: &Group,
        source: &Metadata,
        existing: Option<&Metadata>,
    ) -> Result<StagedDirectory, SystemError> {
        let name = self.writer.stage_directory(&group.directory)?;
        Ok(StagedDirectory {
            name,
            path: group.directory.clone(),
            source: *source,
            expected: existing.copied(),
            files: Vec::new(),
            failed: Vec::new(),
        })
    }

    fn item(
        &self,
        path: &RelPath,
        item: &Item,
        directory: Option<&mut StagedDirectory>,
        done: &mut StagedStep,
        hands: &mut Hands,
    ) -> Result<(), ItemFault> {
        if self.strictness != Strictness::Fresh && self.was_done(path, &item.change)? {
            return Ok(());
        }
        match &item.change {
            Change::Put { source, existing } => {
                let place = match &directory {
                    Some(directory) => Place::Inside(&directory.name, &item.name),
                    None => Place::Alone(path),
                };
                let Put { name, pieces, has_checkpoint, lost } =
                    self.put(path, source, existing.as_ref(), place, hands)?;
                if let Some(error) = lost {
                    // The file is kept without it.
                    done.faults += 1;
                    self.fault(path, &error);
                }
                done.weight.items += 1;
                done.weight.bytes += pieces.iter().map(|piece| u64::from(piece.len)).sum::<u64>();
                let pieces = if self.request.verify { pieces } else { Vec::new() };
                match directory {
                    Some(directory) => directory.files.push((item.name.clone(), pieces)),
                    None => done.alone.push(Staged {
                        name,
                        path: path.clone(),
                        expected: *existing,
                        pieces,
                        has_checkpoint,
                    }),
                }
                Ok(())
            }
            Change::Link { to, source, existing } => {
                let name = self.link(path, to, source)?;
                done.weight.items += 1;
                let expected = *existing;
                let pieces = Vec::new();
                done.alone.push(Staged { name, path: path.clone(), expected, pieces, has_checkpoint: false });
                Ok(())
            }
            Change::Attributes { source, existing } => self.attributes(path, source, existing, hands),
            Change::Delete { existing } => self.delete(path, existing),
            Change::Finish { source } => self.finish_directory(path, source, hands),
        }
    }

    /// Whether an earlier run of the plan made a change. One that copied a source as it was then, not as it was planned,
    /// is found by comparing with the source as it is now.
    fn was_done(&self, path: &RelPath, change: &Change) -> Result<bool, ItemFault> {
        let now = self.destination.metadata(path).ok();
        let mut is_made = is_done(change, || now);
        if let (false, Strictness::Again, Change::Put { existing, .. }, Some(found)) =
            (is_made, self.strictness, change, now)
            && existing.is_none_or(|existing| existing.identity() != found.identity())
        {
            let source = self.source.system().metadata(self.source_name.as_ref().unwrap_or(path))?;
            is_made = is_done(&Change::Put { source, existing: *existing }, || now);
        }
        if is_made && self.strictness == Strictness::Again {
            self.counters.count(change);
        }
        Ok(is_made)
    }

    /// Stages a copy of one object.
    fn put(
        &self,
        path: &RelPath,
        planned: &Metadata,
        existing: Option<&Metadata>,
        place: Place<'_>,
        hands: &mut Hands,
    ) -> Result<Put, ItemFault> {
        let from = self.source_name.as_ref().unwrap_or(path);
        let fetched = hands.take(from)?;
        if planned.is_file() {
            let source: Box<dyn SourceFile> = match fetched {
                Some(Fetched::File(file)) => Box::new(file),
                Some(Fetched::Failed(error)) => return Err(error.into()),
                Some(Fetched::Other(..)) => return Err(SystemError::Changed { path: path.clone() }.into()),
                Some(Fetched::Large) | None => self.source.system().open(from)?,
            };
            return self.put_file(path, source.as_ref(), planned, existing, place, hands);
        }
        let (mut link_text, xattrs) = match fetched {
            Some(Fetched::Failed(error)) => return Err(error.into()),
            Some(Fetched::Other(now, found, text)) if now.kind == planned.kind => {
                (Some(text), self.request.xattrs.then_some(found))
            }
            Some(_) => return Err(SystemError::Changed { path: path.clone() }.into()),
            None => (None, self.xattrs_of(from)?),
        };
        let node = match planned.kind {
            EntryKind::Symlink => {
                let text = link_text.take().map_or_else(|| self.source.system().read_link(from), Ok)?;
                Node::Symlink(link_text.insert(text))
            }
            EntryKind::Fifo => Node::Fifo,
            EntryKind::CharDevice => Node::CharDevice(planned.rdev),
            EntryKind::BlockDevice => Node::BlockDevice(planned.rdev),
            EntryKind::File | EntryKind::Directory | EntryKind::Socket => {
                return Err(SystemError::WrongKind {
                    path: path.clone(),
                    wanted: "an object to copy".into(),
                }
                .into());
            }
        };
        let name = self.writer.stage_node(place, &node)?;
        let change = self.change(planned, xattrs.as_deref());
        self.writer.set_staged_attributes(&name, &change).inspect_err(|_| self.writer.discard(&name))?;
        Ok(Put { name, pieces: Vec::new(), has_checkpoint: false, lost: None })
    }

    fn put_file(
        &self,
        path: &RelPath,
        source: &dyn SourceFile,
        planned: &Metadata,
        existing: Option<&Metadata>,
        place: Place<'_>,
        hands: &mut Hands,
    ) -> Result<Put, ItemFault> {
        let fresh = source.metadata().map_err(SystemError::io("read", path))?;
        let was_settled = copy::is_settled(&fresh);
        if self.strictness == Strictness::Kept && fresh.identity() != planned.identity() {
            return Err(SystemError::Changed { path: path.clone() }.into());
        }
        let xattrs = self.request.xattrs.then(|| source.xattrs()).transpose();
        let xattrs = xattrs.map_err(SystemError::io("read the attributes of", path))?;
        let copied = copy::copy_file(self, source, &fresh, existing, path, place, &mut hands.buffer)?;
        let mut staged = copied.staged;
        let mut change = self.change(&fresh, xattrs.as_deref());
        if let (false, Some(old)) = (self.request.permissions, existing.filter(|old| old.is_file())) {
            // A new version of a private file stays private.
            change.attributes.mode = old.attributes.mode & 0o1777;
            change.set_mode = true;
        }
        let (attributes, lost) = keep_what_can_be(path, staged.as_mut(), &change);
        let steady = copy::is_steady(source, was_settled, &copied.pieces, &mut hands.buffer);
        let steady = steady.map_err(SystemError::io("read", path));
        let after = source.metadata().map_err(SystemError::io("read", path));
        let name = staged.name().clone();
        let result =
            attributes.and(steady).and_then(|steady| Ok((steady, after?))).and_then(|(steady, after)| {
                let is_same = steady && after.identity() == fresh.identity();
                if is_same { Ok(()) } else { Err(SystemError::Changed { path: path.clone() }) }
            });
        match result {
            Ok(()) => Ok(Put { name, pieces: copied.pieces, has_checkpoint: copied.has_checkpoint, lost }),
            Err(error) => {
                let fault = ItemFault::from(error);
                // What a checkpoint names is gone on with when the source is there again.
                if !(fault.is_stop() && copied.has_checkpoint) {
                    self.writer.discard(&name);
                    if copied.has_checkpoint {
                        self.forget_checkpoint(path);
                    }
                }
                Err(fault)
            }
        }
    }

    fn xattrs_of(&self, path: &RelPath) -> Result<Option<Vec<Xattr>>, SystemError> {
        self.request.xattrs.then(|| self.source.system().xattrs(path)).transpose()
    }

    /// The same, where they may be on their way.
    fn xattrs_ahead(&self, path: &RelPath, hands: &mut Hands) -> Result<Option<Vec<Xattr>>, SystemError> {
        match hands.take(path)? {
            Some(Fetched::File(file)) => {
                file.xattrs().map(Some).map_err(SystemError::io("read the attributes of", path))
            }
            Some(Fetched::Other(_, xattrs, _)) => Ok(self.request.xattrs.then_some(xattrs)),
            Some(Fetched::Failed(error)) => Err(error),
            Some(Fetched::Large) | None => self.xattrs_of(path),
        }
    }

    fn change<'x>(&self, source: &Metadata, xattrs: Option<&'x [Xattr]>) -> AttributeChange<'x> {
        let mut attributes = source.attributes;
        if source.is_file() && !self.set_owner && attributes.uid != self.privilege.uid {
            // These bits would speak for the wrong owner.
            attributes.mode &= 0o1777;
        }
        AttributeChange { attributes, set_mode: self.request.permissions, set_owner: self.set_owner, xattrs }
    }

    fn link(&self, path: &RelPath, to: &RelPath, source: &Metadata) -> Result<StagedName, ItemFault> {
        let in_place = self.destination.metadata(to)?;
        // If the first name could not be copied, what stands there is an older file.
        let is_right = in_place.is_file()
            && in_place.size == source.size
            && same_mtime(source, &in_place, self.granularity_ns);
        if !is_right {
            return Err(SystemError::Changed { path: to.clone() }.into());
        }
        Ok(self.writer.stage_node(Place::Alone(path), &Node::HardLink(to))?)
    }

    fn attributes(
        &self,
        path: &RelPath,
        source: &Metadata,
        existing: &Metadata,
        hands: &mut Hands,
    ) -> Result<(), ItemFault> {
        let now = self.destination.metadata(path)?;
        if now.identity() != existing.identity() {
            return Err(SystemError::Changed { path: path.clone() }.into());
        }
        let xattrs = self.xattrs_ahead(self.source_name.as_ref().unwrap_or(path), hands)?;
        self.writer.set_attributes(path, &self.change(source, xattrs.as_deref()))?;
        self.counters.files_changed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn delete(&self, path: &RelPath, existing: &Metadata) -> Result<(), ItemFault> {
        // A directory's own times moved when its contents were deleted: what must be right is that it is that directory.
        match self.writer.remove(path, existing, self.disposal()) {
            Ok(()) => {
                self.counters.files_deleted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(SystemError::Occupied { .. }) => {
                let notice = format!("{path}: kept, it holds files that are excluded or came since the scan");
                self.context.observer.event(&RunEvent::Notice(&notice));
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn finish_directory(
        &self,
        path: &RelPath,
        source: &Metadata,
        hands: &mut Hands,
    ) -> Result<(), ItemFault> {
        let xattrs = self.xattrs_ahead(path, hands)?;
        match self.writer.set_attributes(path, &self.change(source, xattrs.as_deref())) {
            // It could not be made, which was reported then.
            Err(error) if error.is_not_found() => Ok(()),
            result => Ok(result?),
        }
    }
}

/// The groups of a step. Directories are finished children first: the plan numbers parents first.
fn in_order(step: &Step) -> Box<dyn Iterator<Item = &Group> + '_> {
    let reversed = matches!(step.phase, Phase::Deletions | Phase::Directories);
    if reversed { Box::new(step.groups.iter().rev()) } else { Box::new(step.groups.iter()) }
}

/// Whether the destination has already what a change makes: a plan that is run again finds its own work. What the plan
/// found there is not it, however alike it looks: contents may differ, and attributes that are not compared here. What is put
/// in place is another inode; the times of the old one also change when another of its names is replaced.
pub(super) fn is_done(change: &Change, now: impl FnOnce() -> Option<Metadata>) -> bool {
    let made = |source: &Metadata, now: Metadata| {
        let (is, wanted) = (&now.attributes, &source.attributes);
        now.kind == source.kind
            && now.size == source.size
            && (is.mtime, is.mode) == (wanted.mtime, wanted.mode)
    };
    let is_other = |existing: Option<&Metadata>, now: &Metadata| {
        existing.is_none_or(|existing| (existing.dev, existing.ino) != (now.dev, now.ino))
    };
    match change {
        Change::Put { source, existing } | Change::Link { source, existing, .. } => {
            now().is_some_and(|now| is_other(existing.as_ref(), &now) && made(source, now))
        }
        Change::Attributes { source, existing } => {
            now().is_some_and(|now| existing.identity() != now.identity() && made(source, now))
        }
        Change::Delete { .. } => now().is_none(),
        Change::Finish { .. } => false,
    }
}

/// Sets attributes; where an extended attribute cannot be set, all others, so that it costs itself and not the file. Gives
/// what became of them, and the attribute's error.
fn keep_what_can_be(
    path: &RelPath,
    staged: &mut dyn StagedFile,
    change: &AttributeChange<'_>,
) -> (Result<(), SystemError>, Option<SystemError>) {
    let operation = SET_ATTRIBUTES;
    let Err(error) = staged.set_attributes(change) else { return (Ok(()), None) };
    // What this file system, or this user, cannot keep. Anything else may go better the next time.
    let is_final = matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied)
        || rustix::io::Errno::from_io_error(&error).is_some_and(|e| e == rustix::io::Errno::TOOBIG);
    let error = SystemError::io(operation, path)(error);
    if !is_final || change.xattrs.is_none_or(<[Xattr]>::is_empty) {
        return (Err(error), None);
    }
    let others = AttributeChange { xattrs: None, ..*change };
    match staged.set_attributes(&others) {
        Ok(()) => (Ok(()), Some(error)),
        Err(_) => (Err(error), None),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GroupEnd {
    Done,
    Stopped,
}
