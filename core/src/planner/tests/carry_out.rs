//! [`Bench`]: carries a plan out on a [`Tree`] the way a driver may at worst: phase after phase, but within a phase of
//! staged steps in any order, each step committed by itself.

use super::tree::{NOW, Object, Tree};
use crate::entry::{Metadata, Timestamp};
use crate::plan::{Change, DirectoryState, Group, Item, Phase, Step, StepId};
use crate::rel_path::RelPath;

/// Why an item was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Something else is there than the plan saw.
    Changed,
    /// A directory that should make way holds something.
    Occupied,
    /// A parent is not a directory.
    Blocked,
}

pub struct Bench<'a> {
    pub source: &'a Tree,
    pub tree: Tree,
    pub refused: Vec<(RelPath, Refusal)>,
    /// Names whose inode was written into while it had others.
    pub shared_writes: Vec<RelPath>,
}

impl<'a> Bench<'a> {
    pub fn new(source: &'a Tree, destination: &Tree) -> Self {
        Self { source, tree: destination.clone(), refused: Vec::new(), shared_writes: Vec::new() }
    }

    /// `turn` picks the order within phases; deletions are left out after `faults`.
    pub fn run(&mut self, steps: &[(StepId, Step)], faults: u64, turn: u64) {
        for phase in Phase::ALL {
            if phase == Phase::Deletions && faults > 0 {
                continue;
            }
            let mut now: Vec<_> = steps.iter().filter(|(_, step)| step.phase == phase).collect();
            now.sort_by_key(|(id, step)| (step.rank(*id), *id));
            if !phase.is_serial() {
                let mixed = |id: StepId| (id.0 + 1).wrapping_mul(turn | 1).rotate_left(32);
                now.sort_by_key(|(id, _)| mixed(*id));
            }
            for (_, step) in now {
                let reversed = matches!(phase, Phase::Deletions | Phase::Directories);
                let groups: Vec<&Group> =
                    if reversed { step.groups.iter().rev().collect() } else { step.groups.iter().collect() };
                for group in groups {
                    self.group(group);
                }
            }
        }
    }

    fn group(&mut self, group: &Group) {
        if let DirectoryState::New { existing, .. } = &group.state
            && let Err(refusal) = self.new_directory(&group.directory, existing.as_ref())
        {
            self.refused.push((group.directory.clone(), refusal));
            return;
        }
        for item in &group.items {
            let path = match item.change {
                Change::Finish { .. } => group.directory.clone(),
                _ => group.directory.join(&item.name).expect("a plain name"),
            };
            if let Err(refusal) = self.item(&path, item) {
                self.refused.push((path, refusal));
            }
        }
    }

    fn item(&mut self, path: &RelPath, item: &Item) -> Result<(), Refusal> {
        match &item.change {
            Change::Put { source, existing } => {
                let mut object = self.source.objects[path].clone();
                assert_eq!(object.metadata, *source, "a plan carries what was scanned");
                self.tree.next_inode += 1;
                (object.metadata.dev, object.metadata.ino) = (self.tree.device, self.tree.next_inode);
                object.metadata.links = 1;
                self.put(path, object, existing.as_ref())
            }
            Change::Link { to, source, existing } => {
                let first = self.tree.objects.get(to).ok_or(Refusal::Changed)?.clone();
                let is_right = first.metadata.is_file()
                    && first.metadata.size == source.size
                    && first.metadata.attributes.mtime == source.attributes.mtime;
                if !is_right {
                    return Err(Refusal::Changed);
                }
                self.put(path, first, existing.as_ref())
            }
            Change::Attributes { source, existing } => {
                let object = self.tree.objects.get_mut(path).ok_or(Refusal::Changed)?;
                if object.metadata.identity() != existing.identity() {
                    return Err(Refusal::Changed);
                }
                if object.metadata.links > 1 {
                    self.shared_writes.push(path.clone());
                }
                object.metadata.attributes = source.attributes;
                Ok(())
            }
            Change::Delete { existing } => {
                self.check(path, existing)?;
                if !self.tree.children(path).is_empty() {
                    return Err(Refusal::Occupied);
                }
                self.tree.objects.remove(path);
                self.touch(path);
                Ok(())
            }
            Change::Finish { source } => {
                let object = self.tree.objects.get_mut(path).ok_or(Refusal::Changed)?;
                object.metadata.attributes = source.attributes;
                Ok(())
            }
        }
    }

    fn new_directory(&mut self, path: &RelPath, existing: Option<&Metadata>) -> Result<(), Refusal> {
        if existing.is_none() && self.tree.is_directory(path) {
            return Ok(());
        }
        let directory = self.tree.make_directory(0o700);
        self.put(path, directory, existing)
    }

    fn put(&mut self, path: &RelPath, object: Object, existing: Option<&Metadata>) -> Result<(), Refusal> {
        self.make_parents(path)?;
        match existing {
            None if self.tree.objects.contains_key(path) => return Err(Refusal::Changed),
            None => {}
            Some(existing) => self.check(path, existing)?,
        }
        if !self.tree.children(path).is_empty() {
            return Err(Refusal::Occupied);
        }
        self.tree.objects.insert(path.clone(), object);
        self.touch(path);
        Ok(())
    }

    fn check(&self, path: &RelPath, expected: &Metadata) -> Result<(), Refusal> {
        let now = self.tree.objects.get(path).ok_or(Refusal::Changed)?.metadata;
        let is_same = now.kind == expected.kind
            && now.ino == expected.ino
            && (now.is_directory() || now.identity() == expected.identity());
        if is_same { Ok(()) } else { Err(Refusal::Changed) }
    }

    fn make_parents(&mut self, path: &RelPath) -> Result<(), Refusal> {
        let parent = path.parent().expect("the root is never put");
        match self.tree.objects.get(&parent) {
            Some(found) if found.metadata.is_directory() => Ok(()),
            Some(_) => Err(Refusal::Blocked),
            None => {
                self.make_parents(&parent)?;
                let directory = self.tree.make_directory(0o700);
                self.tree.objects.insert(parent.clone(), directory);
                self.touch(&parent);
                Ok(())
            }
        }
    }

    /// The directory that holds `path` changed.
    fn touch(&mut self, path: &RelPath) {
        let parent = path.parent().and_then(|parent| self.tree.objects.get_mut(&parent));
        let parent = parent.expect("it holds what was touched");
        parent.metadata.attributes.mtime = Timestamp { seconds: NOW, nanos: 0 };
    }
}
