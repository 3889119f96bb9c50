//! [`Batcher`]: gathers changes into steps of a size that a worker takes at once.

use crate::plan::{Change, DirectoryState, Group, Item, Phase, Step, StepId};
use crate::priority::Class;
use crate::rel_path::RelPath;

/// Where finished steps go: a database, or a test's vector.
pub trait StepSink {
    /// Takes one step. An error ends planning.
    fn step(&mut self, id: StepId, step: Step) -> Result<(), SinkError>;
}

/// A plan that could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot store the plan")]
pub struct SinkError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A file of at least this many bytes is a step of its own: it is staged in parts and may be resumed.
pub const LARGE_FILE_BYTES: u64 = 8 << 20;

/// A step is closed when it holds this many items …
const STEP_ITEMS: usize = 512;
/// … or this many bytes to copy.
const STEP_BYTES: u64 = 16 << 20;
/// A new directory travels whole up to this many items …
const NEW_DIRECTORY_ITEMS: usize = 2048;
/// … or bytes, since its files then share one rename.
const NEW_DIRECTORY_BYTES: u64 = 64 << 20;

/// A step being filled.
#[derive(Debug)]
struct Open {
    phase: Phase,
    class: Class,
    groups: Vec<Group>,
    items: usize,
    bytes: u64,
}

/// Gathers groups into steps; what is open at a time is bounded by the number of phases and classes.
pub struct Batcher<'a> {
    sink: &'a mut dyn StepSink,
    open: Vec<Open>,
    next_id: u64,
}

impl<'a> Batcher<'a> {
    /// Starts numbering steps at 0.
    pub fn new(sink: &'a mut dyn StepSink) -> Self {
        Self { sink, open: Vec::new(), next_id: 0 }
    }

    /// Adds a change in a directory that exists (or is made by another group).
    pub fn add(
        &mut self,
        phase: Phase,
        class: Class,
        directory: &RelPath,
        item: Item,
    ) -> Result<(), SinkError> {
        let bytes = item.change.bytes();
        if bytes >= LARGE_FILE_BYTES {
            let group =
                Group { directory: directory.clone(), state: DirectoryState::Exists, items: vec![item] };
            return self.emit(Step { phase, class, groups: vec![group] });
        }
        let open = self.open(phase, class);
        match open.groups.last_mut() {
            Some(group) if group.directory == *directory => group.items.push(item),
            _ => open.groups.push(Group {
                directory: directory.clone(),
                state: DirectoryState::Exists,
                items: vec![item],
            }),
        }
        open.items += 1;
        open.bytes += bytes;
        self.close_if_full(phase, class)
    }

    /// Adds a new directory with its files: each with its class. Small files travel with the directory, at the class of
    /// the most important; what is large, or beyond the limits, follows in steps of its own, in `rest_phase`.
    pub fn add_new_directory(
        &mut self,
        phase: Phase,
        rest_phase: Phase,
        directory: &RelPath,
        state: DirectoryState,
        items: Vec<(Class, Item)>,
    ) -> Result<(), SinkError> {
        let mut group = Group { directory: directory.clone(), state, items: Vec::new() };
        let (mut class, mut bytes) = (Class::Bulk, 0);
        let mut rest = Vec::new();
        for (item_class, item) in items {
            let size = item.change.bytes();
            let fits = size < LARGE_FILE_BYTES
                && group.items.len() < NEW_DIRECTORY_ITEMS
                && bytes + size <= NEW_DIRECTORY_BYTES;
            if fits {
                class = class.min(item_class);
                bytes += size;
                group.items.push(item);
            } else {
                rest.push((item_class, item));
            }
        }
        let class = if group.items.is_empty() { Class::default() } else { class };
        let open = self.open(phase, class);
        open.items += group.items.len().max(1);
        open.bytes += bytes;
        open.groups.push(group);
        self.close_if_full(phase, class)?;
        rest.into_iter().try_for_each(|(class, item)| self.add(rest_phase, class, directory, item))
    }

    /// Adds a directory's final attributes.
    pub fn add_finish(
        &mut self,
        directory: &RelPath,
        source: crate::entry::Metadata,
    ) -> Result<(), SinkError> {
        let item = Item { name: Vec::new(), change: Change::Finish { source } };
        self.add(Phase::Directories, Class::default(), directory, item)
    }

    /// Closes all open steps and says how many there are in all.
    pub fn finish(mut self) -> Result<u64, SinkError> {
        for open in std::mem::take(&mut self.open) {
            self.emit(Step { phase: open.phase, class: open.class, groups: open.groups })?;
        }
        Ok(self.next_id)
    }

    /// Steps given out or open so far.
    pub fn is_empty(&self) -> bool {
        self.next_id == 0 && self.open.is_empty()
    }

    fn open(&mut self, phase: Phase, class: Class) -> &mut Open {
        let at = self.open.iter().position(|open| (open.phase, open.class) == (phase, class));
        let at = at.unwrap_or_else(|| {
            self.open.push(Open { phase, class, groups: Vec::new(), items: 0, bytes: 0 });
            self.open.len() - 1
        });
        &mut self.open[at]
    }

    fn close_if_full(&mut self, phase: Phase, class: Class) -> Result<(), SinkError> {
        let Some(at) = self.open.iter().position(|open| (open.phase, open.class) == (phase, class)) else {
            return Ok(());
        };
        if self.open[at].items < STEP_ITEMS && self.open[at].bytes < STEP_BYTES {
            return Ok(());
        }
        let full = self.open.swap_remove(at);
        self.emit(Step { phase: full.phase, class: full.class, groups: full.groups })
    }

    fn emit(&mut self, step: Step) -> Result<(), SinkError> {
        let id = StepId(self.next_id);
        self.next_id += 1;
        self.sink.step(id, step)
    }
}

#[cfg(test)]
mod tests;
