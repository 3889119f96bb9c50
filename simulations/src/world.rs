//! [`World`]: two disks, and a source that people go on working on.

use crate::disk::Disk;
use crate::disk::state::{Body, Inode, Node, Op, ROOT, State};
use crate::invariants::whole::History;
use crate::machine::Machine;
use crate::random::Random;
use orbit_core::RelPath;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAMES: [&str; 8] = ["a", "b", "a.b", "c", "note.txt", "id.pem", "film.mkv", "disk.iso"];

/// Whether the destination loses what the source lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It keeps everything.
    Keep,
    /// It mirrors the source.
    Mirror,
}

/// Both sides of a sync.
pub struct World {
    /// What both are in.
    pub machine: Arc<Machine>,
    /// The source.
    pub source: Arc<Disk>,
    /// The destination.
    pub destination: Arc<Disk>,
    /// What may be in the destination.
    pub history: RefCell<History>,
    /// Counts changes of the source.
    pub source_version: Cell<u64>,
}

impl World {
    /// A random pair of trees, which have something in common.
    pub fn new(random: &Random, mode: Mode) -> Self {
        let machine = Arc::new(Machine::new(random.fork()));
        let mut source = State::default();
        let objects = 3 + random.below(*random.pick(&[10, 40, 80]).expect("there are some"));
        (0..objects).for_each(|_| plant(&mut source, random, 10));
        let mut destination = if random.one_in(3) { State::default() } else { source.clone() };
        (0..random.below(24)).for_each(|_| plant(&mut destination, random, 500));
        if random.one_in(2) {
            (0..random.below(8)).for_each(|_| uproot(&mut destination, random));
        }
        match random.below(8) {
            0..=2 => {
                for number in 0..6 + random.below(16) {
                    plant_conflict(&mut source, &mut destination, number, random);
                }
            }
            3..=6 => {
                for number in 0..4 + random.below(10) {
                    plant_large(&mut source, &mut destination, number, random);
                }
            }
            _ => {}
        }
        source.collect();
        destination.collect();
        let history = History::new(&destination, &source, mode);
        Self {
            source: Arc::new(Disk::new(machine.clone(), 1, source)),
            destination: Arc::new(Disk::new(machine.clone(), 2, destination)),
            machine,
            history: RefCell::new(history),
            source_version: Cell::new(0),
        }
    }

    /// Somebody works on the source, perhaps on the file `at`.
    pub fn change_source(&self, at: Option<&RelPath>, random: &Random) {
        self.source.edit(|state, time, inode| change(state, at, time, inode, random));
        self.machine.note("      -- the source changes");
        self.source_version.set(self.source_version.get() + 1);
        self.history.borrow_mut().note_source(&self.source.now());
    }
}

/// A new object, over whatever is there. Times are from `since` on: without `--checksum`, equal times and sizes mean
/// equal content, so two trees may share a time only with the file.
fn plant(state: &mut State, random: &Random, since: i64) {
    let depth = 1 + random.below(3);
    let inode = state.nodes.keys().max().expect("there is a root") + 1;
    let time = since + inode as i64;
    let mut directory = ROOT;
    for _ in 1..depth {
        let name = random.pick(&NAMES[..4]).expect("there are some").as_bytes().to_vec();
        directory = match state.names(directory).and_then(|names| names.get(&name)).copied() {
            Some(found) if state.names(found).is_some() => found,
            _ => {
                let made = state.nodes.keys().max().expect("there is a root") + 1;
                let body = Body::Directory(BTreeMap::new());
                let node = Node { body, mode: 0o755, mtime: time, ctime: time };
                state.apply(&Op::Make((directory, name), made, node), time);
                made
            }
        };
    }
    let spot = (directory, random.pick(&NAMES).expect("there are some").as_bytes().to_vec());
    let inode = state.nodes.keys().max().expect("there is a root") + 1;
    let files: Vec<Inode> = files(state);
    if random.one_in(8)
        && let Some(&file) = random.pick(&files)
    {
        state.apply(&Op::Link(spot, file), time);
        return;
    }
    let node = random_node(random, time);
    state.apply(&Op::Make(spot, inode, node), time);
}

fn make(state: &mut State, directory: Inode, name: &str, body: Body, time: i64) -> Inode {
    let inode = state.nodes.keys().max().expect("there is a root") + 1;
    let mode = if matches!(body, Body::Directory(_)) { 0o755 } else { 0o644 };
    let node = Node { body, mode, mtime: time, ctime: time };
    state.apply(&Op::Make((directory, name.as_bytes().to_vec()), inode, node), time);
    inode
}

/// A large file of the source where the destination has a directory: a late step of its own.
fn plant_conflict(source: &mut State, destination: &mut State, number: usize, random: &Random) {
    let name = format!("x{number}");
    make(source, ROOT, &name, Body::File(bytes(random, 2 + random.below(3))), 10 + number as i64);
    let directory = make(destination, ROOT, &name, Body::Directory(BTreeMap::new()), 500 + number as i64);
    for child in 0..random.below(3) {
        let body = Body::File(bytes(random, random.below(3)));
        make(destination, directory, &format!("y{child}"), body, 500);
    }
}

/// A file that takes some time, new or changed.
fn plant_large(source: &mut State, destination: &mut State, number: usize, random: &Random) {
    let name = format!("x{number}");
    make(source, ROOT, &name, Body::File(bytes(random, 4 + random.below(12))), 10 + number as i64);
    if random.one_in(2) {
        make(destination, ROOT, &name, Body::File(bytes(random, 4 + random.below(12))), 500 + number as i64);
    }
}

fn random_node(random: &Random, time: i64) -> Node {
    let body = match random.below(10) {
        0 => Body::Symlink(bytes(random, 1 + random.below(6))),
        1 => Body::Directory(BTreeMap::new()),
        2..=4 => Body::File(bytes(random, 2 + random.below(14))),
        _ => Body::File(bytes(random, random.below(3))),
    };
    let mode = match body {
        Body::Symlink(_) => 0o777,
        Body::Directory(_) => 0o755,
        Body::File(_) => *random.pick(&[0o644, 0o600]).expect("there are two"),
    };
    Node { body, mode, mtime: time, ctime: time }
}

/// Never 0: that is what a power cut leaves.
fn bytes(random: &Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| 1 + random.below(255) as u8).collect()
}

fn files(state: &State) -> Vec<Inode> {
    let is_file = |node: &&Inode| matches!(state.nodes[node].body, Body::File(_));
    state.paths().values().filter(is_file).copied().collect()
}

fn uproot(state: &mut State, random: &Random) {
    let paths: Vec<RelPath> = state.paths().into_keys().collect();
    let Some(path) = random.pick(&paths) else { return };
    let parent = state.find(&path.parent().expect("not the root")).expect("it was found");
    state.apply(&Op::Unlink((parent, path.name().expect("not the root").to_vec())), 5);
}

fn change(state: &mut State, at: Option<&RelPath>, time: i64, inode: Inode, random: &Random) {
    let files = files(state);
    // Mostly the larger ones, which take time to copy.
    let len = |inode: &Inode| match &state.nodes[inode].body {
        Body::File(data) => data.len(),
        _ => 0,
    };
    let named = at.and_then(|path| state.find(path)).filter(|inode| files.contains(inode));
    let picked = (0..3).filter_map(|_| random.pick(&files)).max_by_key(|inode| len(inode));
    let file = named.as_ref().or(picked);
    match (random.below(10), file) {
        // Written into, by a program that may be at it while we read.
        (0 | 1, Some(&file)) => {
            let Body::File(data) = &state.nodes[&file].body else { return };
            let offset = random.below(data.len() + 1);
            let written = bytes(random, 1 + random.below(2));
            state.apply(&Op::Write(file, offset, written), time);
        }
        (2, Some(&file)) => {
            let Body::File(data) = &state.nodes[&file].body else { return };
            let len = data.len() / 2;
            state.apply(&Op::Length(file, len), time);
        }
        // Replaced whole, same length, as editors do.
        (3, Some(&file)) => {
            let paths = state.paths();
            let path = paths.iter().find(|(_, named)| **named == file).expect("files have names").0;
            let Body::File(data) = &state.nodes[&file].body else { return };
            let body = Body::File(bytes(random, data.len()));
            let parent = state.find(&path.parent().expect("not the root")).expect("it was found");
            let spot = (parent, path.name().expect("not the root").to_vec());
            state.apply(&Op::Make(spot, inode, Node { body, mode: 0o644, mtime: time, ctime: time }), time);
        }
        (4, _) => uproot(state, random),
        // A batch of small files that go first.
        (5..=8, _) => {
            for number in 0..=random.below(8) {
                let name = format!("n{number}.txt");
                make(state, ROOT, &name, Body::File(bytes(random, 1)), time);
            }
        }
        _ => {
            let name = random.pick(&NAMES).expect("there are some").as_bytes().to_vec();
            let directories: Vec<Inode> =
                state.paths().into_values().filter(|inode| state.names(*inode).is_some()).collect();
            let directory = random.pick(&directories).copied().unwrap_or(ROOT);
            let node = random_node(random, time);
            state.apply(&Op::Make((directory, name), inode, node), time);
        }
    }
}
