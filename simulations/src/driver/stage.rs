//! [`Worker`]: what a worker does with a step, a few system calls at a time.

use super::Run;
use super::copy::Copying;
use crate::disk::state::Body;
use crate::invariants::deletions;
use orbit_core::compare::same_time;
use orbit_core::job::Weight;
use orbit_core::plan::{Change, DirectoryState, Group, Item, Phase, Step, StepId};
use orbit_core::system::{OrbitSystem, SystemError};
use orbit_core::writer::{AttributeChange, Disposal, Node, OrbitWriter, Place, StagedName};
use orbit_core::{EntryKind, Metadata, RelPath};

/// What a step leaves where: `None` where something was deleted.
pub type Contents = Vec<(RelPath, Option<Body>)>;

/// Why an item was not staged.
pub enum ItemFault {
    /// It failed; the rest goes on.
    Failed(SystemError),
    /// The run is being stopped.
    Stopped,
}

impl From<SystemError> for ItemFault {
    fn from(error: SystemError) -> Self {
        Self::Failed(error)
    }
}

/// A staged object waiting for its commit.
pub struct Staged {
    pub name: StagedName,
    pub path: RelPath,
    pub expected: Option<Metadata>,
    /// What was copied, to be verified before the commit.
    pub bytes: Option<Vec<u8>>,
}

/// A staged directory waiting for its commit, with the names of its files.
pub struct StagedDirectory {
    pub name: StagedName,
    pub path: RelPath,
    pub expected: Option<Metadata>,
    pub files: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Names that failed: what is left of them must not go into place with the directory.
    pub failed: Vec<Vec<u8>>,
}

/// What staging a step left to commit, in order.
#[derive(Default)]
pub struct StagedStep {
    pub directories: Vec<StagedDirectory>,
    pub alone: Vec<Staged>,
    pub weight: Weight,
    pub faults: u64,
    pub no_space: bool,
    pub contents: Contents,
}

/// How a worker ended a step.
pub enum StepEnd {
    Done(StagedStep),
    GaveUp(StagedStep),
}

/// A worker with a step in hand.
pub struct Worker {
    pub id: StepId,
    groups: std::vec::IntoIter<Group>,
    group: Option<Group>,
    at: usize,
    directory: Option<StagedDirectory>,
    copying: Option<Copying>,
    done: StagedStep,
}

/// Whether an item is done.
enum Progress {
    Going,
    Done,
}

impl Worker {
    /// Takes a step.
    pub fn new(id: StepId, step: Step) -> Self {
        let mut groups = step.groups;
        // Directories are finished children first: the plan numbers parents first.
        if matches!(step.phase, Phase::Deletions | Phase::Directories) {
            groups.reverse();
        }
        let groups = groups.into_iter();
        let done = StagedStep::default();
        Self { id, groups, group: None, at: 0, directory: None, copying: None, done }
    }

    /// Goes on a little. Gives the end when it is reached.
    pub fn advance(&mut self, run: &Run<'_>) -> Option<StepEnd> {
        let Some(group) = self.group.take() else {
            let Some(group) = self.groups.next() else {
                return Some(StepEnd::Done(std::mem::take(&mut self.done)));
            };
            self.begin(run, group);
            return None;
        };
        let Some(item) = group.items.get(self.at) else {
            self.end_group();
            return None;
        };
        if self.copying.is_none() && run.halt.get() {
            self.end_group();
            return Some(StepEnd::GaveUp(std::mem::take(&mut self.done)));
        }
        let path = match &item.change {
            Change::Finish { .. } => group.directory.clone(),
            _ => group.directory.join(&item.name).expect("the planner joined it before"),
        };
        match self.item(run, &path, item) {
            Ok(Progress::Going) => {}
            Ok(Progress::Done) => self.at += 1,
            Err(ItemFault::Stopped) => {
                self.end_group();
                return Some(StepEnd::GaveUp(std::mem::take(&mut self.done)));
            }
            Err(ItemFault::Failed(error)) => {
                self.note_fault(run, &path, &error);
                self.copying = None;
                if let Some(directory) = &mut self.directory {
                    directory.failed.push(item.name.clone());
                }
                self.at += 1;
            }
        }
        self.group = Some(group);
        None
    }

    fn begin(&mut self, run: &Run<'_>, group: Group) {
        self.at = 0;
        if let DirectoryState::New { existing, .. } = &group.state {
            match run.writer.stage_directory(&group.directory) {
                Ok(name) => {
                    let (path, expected) = (group.directory.clone(), *existing);
                    self.directory =
                        Some(StagedDirectory { name, path, expected, files: Vec::new(), failed: Vec::new() });
                }
                Err(error) => {
                    self.note_fault(run, &group.directory, &error);
                    self.done.faults += group.items.len() as u64;
                    return;
                }
            }
        }
        self.group = Some(group);
    }

    fn end_group(&mut self) {
        if let Some(directory) = self.directory.take() {
            self.done.weight.items += 1;
            self.done.directories.push(directory);
        }
    }

    fn note_fault(&mut self, run: &Run<'_>, path: &RelPath, error: &SystemError) {
        run.world.machine.note(format!("      -- fault: {path}: {error}"));
        self.done.faults += 1;
        self.done.no_space |= error.is_no_space();
    }

    fn item(&mut self, run: &Run<'_>, path: &RelPath, item: &Item) -> Result<Progress, ItemFault> {
        match &item.change {
            Change::Put { source, existing } if source.is_file() => {
                self.put_file(run, path, item, source, *existing)
            }
            Change::Put { source, existing } => self.put_node(run, path, item, source, *existing),
            Change::Link { to, source, existing } => self.link(run, path, to, source, *existing),
            Change::Attributes { source, existing } => attributes(run, path, source, existing),
            Change::Delete { existing } => self.delete(run, path, existing),
            Change::Finish { source } => finish_directory(run, path, source),
        }
    }

    fn put_file(
        &mut self,
        run: &Run<'_>,
        path: &RelPath,
        item: &Item,
        planned: &Metadata,
        existing: Option<Metadata>,
    ) -> Result<Progress, ItemFault> {
        let Some(copying) = &mut self.copying else {
            let place = match &self.directory {
                Some(directory) => Place::Inside(&directory.name, &item.name),
                None => Place::Alone(path),
            };
            self.copying = Some(Copying::begin(run, path, planned, place)?);
            return Ok(Progress::Going);
        };
        let Some((name, bytes)) = copying.advance(run)? else { return Ok(Progress::Going) };
        self.copying = None;
        self.done.weight.bytes += bytes.len() as u64 * crate::disk::SCALE;
        self.staged(run, path, item, existing, name, Body::File(bytes));
        Ok(Progress::Done)
    }

    fn put_node(
        &mut self,
        run: &Run<'_>,
        path: &RelPath,
        item: &Item,
        planned: &Metadata,
        existing: Option<Metadata>,
    ) -> Result<Progress, ItemFault> {
        if planned.kind != EntryKind::Symlink {
            return Err(
                SystemError::WrongKind { path: path.clone(), wanted: "an object to copy".into() }.into()
            );
        }
        let place = match &self.directory {
            Some(directory) => Place::Inside(&directory.name, &item.name),
            None => Place::Alone(path),
        };
        let text = run.source.read_link(path)?;
        let name = run.writer.stage_node(place, &Node::Symlink(&text))?;
        run.writer
            .set_staged_attributes(&name, &change_to(planned))
            .inspect_err(|_| run.writer.discard(&name))?;
        self.staged(run, path, item, existing, name, Body::Symlink(text));
        Ok(Progress::Done)
    }

    fn staged(
        &mut self,
        run: &Run<'_>,
        path: &RelPath,
        item: &Item,
        expected: Option<Metadata>,
        name: StagedName,
        body: Body,
    ) {
        self.done.weight.items += 1;
        let bytes = match &body {
            Body::File(bytes) if run.settings.verify => Some(bytes.clone()),
            _ => None,
        };
        run.watch.borrow_mut().copied.insert(path.clone(), body.clone());
        self.done.contents.push((path.clone(), Some(body)));
        match &mut self.directory {
            Some(directory) => directory.files.push((item.name.clone(), bytes)),
            None => self.done.alone.push(Staged { name, path: path.clone(), expected, bytes }),
        }
    }

    fn link(
        &mut self,
        run: &Run<'_>,
        path: &RelPath,
        to: &RelPath,
        source: &Metadata,
        expected: Option<Metadata>,
    ) -> Result<Progress, ItemFault> {
        let in_place = run.destination.metadata(to)?;
        // If the first name could not be copied, what stands there is an older file.
        let is_right = in_place.is_file()
            && in_place.size == source.size
            && same_time(in_place.attributes.mtime, source.attributes.mtime, 1);
        if !is_right {
            return Err(SystemError::Changed { path: to.clone() }.into());
        }
        let name = run.writer.stage_node(Place::Alone(path), &Node::HardLink(to))?;
        self.done.weight.items += 1;
        let first = run.world.destination.now().node(to).map(|node| node.body.clone());
        if let Some(body) = &first {
            run.watch.borrow_mut().copied.insert(path.clone(), body.clone());
        }
        self.done.contents.push((path.clone(), first));
        self.done.alone.push(Staged { name, path: path.clone(), expected, bytes: None });
        Ok(Progress::Done)
    }

    fn delete(&mut self, run: &Run<'_>, path: &RelPath, existing: &Metadata) -> Result<Progress, ItemFault> {
        deletions::check(run, path);
        match run.writer.remove(path, existing, Disposal::Discard) {
            Ok(()) => {
                self.done.contents.push((path.clone(), None));
                Ok(Progress::Done)
            }
            Err(SystemError::Occupied { .. }) => Ok(Progress::Done),
            Err(error) if error.is_not_found() => Ok(Progress::Done),
            Err(error) => Err(error.into()),
        }
    }
}

fn attributes(
    run: &Run<'_>,
    path: &RelPath,
    source: &Metadata,
    existing: &Metadata,
) -> Result<Progress, ItemFault> {
    let now = run.destination.metadata(path)?;
    if now.identity() != existing.identity() {
        return Err(SystemError::Changed { path: path.clone() }.into());
    }
    run.writer.set_attributes(path, &change_to(source))?;
    Ok(Progress::Done)
}

fn finish_directory(run: &Run<'_>, path: &RelPath, source: &Metadata) -> Result<Progress, ItemFault> {
    match run.writer.set_attributes(path, &change_to(source)) {
        // It could not be made, which was reported then.
        Err(error) if error.is_not_found() => Ok(Progress::Done),
        result => Ok(result.map(|()| Progress::Done)?),
    }
}

/// What a copy is given.
pub fn change_to(source: &Metadata) -> AttributeChange<'static> {
    AttributeChange { attributes: source.attributes, set_mode: true, set_owner: false, xattrs: None }
}
