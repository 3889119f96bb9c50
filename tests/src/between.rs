//! [`Between`]: the judge of a destination whose run was killed.
//!
//! Every path holds the old object or the new one, whole, with its attributes; nothing else is there but what Orbit
//! stages in the directory of its own; and nothing is deleted before everything new is in place.

use crate::snapshot::{Kind, Seen, Snapshot, shown};
use std::collections::BTreeSet;

/// Where Orbit keeps what is not in place yet.
pub const STAGE: &str = ".orbit-stage";

/// A destination on its way from one picture to another.
#[derive(Clone, Debug)]
pub struct Between {
    /// What it held before.
    pub old: Snapshot,
    /// What it will hold.
    pub new: Snapshot,
}

impl Between {
    /// What is wrong with the destination as it is `now`, one line a path.
    pub fn violations(&self, now: &Snapshot) -> Vec<String> {
        let now = now.clone().without(STAGE);
        let mut lines: Vec<String> = now
            .entries
            .iter()
            .filter_map(|(path, seen)| Some(format!("{}: {}", shown(path), self.judge(path, seen)?)))
            .collect();
        let paths: BTreeSet<_> = self.old.entries.keys().chain(self.new.entries.keys()).collect();
        let missing =
            paths.iter().filter(|path| !now.entries.contains_key(**path) && self.is_always_there(path));
        lines.extend(missing.map(|path| format!("{}: is gone", shown(path))));
        lines.extend(self.early_deletions(&now));
        lines
    }

    /// Whether the destination is neither as it was nor as it will be.
    pub fn is_under_way(&self, now: &Snapshot) -> bool {
        !self.old.differences(now).is_empty() && !self.new.differences(now).is_empty()
    }

    fn judge(&self, path: &[u8], seen: &Seen) -> Option<String> {
        let (old, new) = (self.old.entries.get(path), self.new.entries.get(path));
        let either = || old.into_iter().chain(new);
        if seen.is_directory() {
            // Attributes of directories come last.
            return (!either().any(Seen::is_directory))
                .then(|| "a directory that belongs to neither".to_owned());
        }
        if either().any(|candidate| candidate.is_same_as(seen)) {
            return None;
        }
        let Some((old, new)) =
            old.zip(new).filter(|(old, new)| old.kind == new.kind && seen.kind == old.kind)
        else {
            return Some(format!("neither old nor new: {}", torn(seen, old, new)));
        };
        // The same content on both sides: each attribute by itself is old or new.
        let (a, b, c) = (old.attributes(), new.attributes(), seen.attributes());
        let fits = [a.0, b.0].contains(&c.0)
            && [a.1, b.1].contains(&c.1)
            && [a.2, b.2].contains(&c.2)
            && [a.3, b.3].contains(&c.3)
            && [a.4, b.4].contains(&c.4);
        (!fits).then(|| format!("attributes are neither old nor new: {}", torn(seen, Some(old), Some(new))))
    }

    /// Whether the path exists at every moment: it does on both sides, and is not a directory that makes way.
    fn is_always_there(&self, path: &[u8]) -> bool {
        match (self.old.entries.get(path), self.new.entries.get(path)) {
            (Some(old), Some(new)) => !old.is_directory() || new.is_directory(),
            _ => false,
        }
    }

    fn early_deletions(&self, now: &Snapshot) -> Vec<String> {
        // What a run that failed left behind is swept by the next one before anything else.
        let is_ours = |path: &[u8]| path.split(|&byte| byte == b'/').next() == Some(STAGE.as_bytes());
        let is_only_old = |path: &&Vec<u8>| !self.new.entries.contains_key(*path) && !is_ours(path);
        let deleted =
            self.old.entries.keys().filter(is_only_old).find(|path| !now.entries.contains_key(*path));
        let Some(deleted) = deleted else { return Vec::new() };
        let is_late = |path: &[u8]| self.old.entries.get(path).is_some_and(Seen::is_directory);
        let still_missing = self.new.entries.iter().filter(|(path, seen)| {
            let in_place = now.entries.get(*path).is_some_and(|now| now.is_same_as(seen));
            !seen.is_directory() && !is_late(path) && !in_place
        });
        still_missing
            .map(|(path, _)| format!("{} was deleted before {} was in place", shown(deleted), shown(path)))
            .collect()
    }
}

fn torn(seen: &Seen, old: Option<&Seen>, new: Option<&Seen>) -> String {
    let brief = |seen: &Seen| {
        let kind = match &seen.kind {
            Kind::File(content) => format!("{} bytes {:x}", content.len, content.fingerprint[0]),
            kind => format!("{kind:?}"),
        };
        format!("{kind} {:o} {}:{} {:?}", seen.mode, seen.uid, seen.gid, seen.mtime)
    };
    let side = |side: Option<&Seen>| side.map_or_else(|| "nothing".to_owned(), brief);
    format!("{}; old {}; new {}", brief(seen), side(old), side(new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    /// A destination with something of every kind that changes, as it was, as it will be, and now.
    fn judge(now: impl FnOnce(&Tree)) -> Vec<String> {
        let directory = tempfile::tempdir().expect("makes a directory");
        let make = |name: &str, content: &str, mode: u32| {
            let tree = Tree::at(&directory.path().join(name), 1);
            tree.write("changed", content);
            tree.write("same", "same");
            tree.mode("same", mode);
            for path in ["changed", "same"] {
                tree.mtime(path, 1_000_000_000 + i64::from(mode), 0);
            }
            tree
        };
        let (old, new) = (make("old", "old content", 0o600), make("new", "new content", 0o644));
        old.write("deleted", "1");
        new.write("added", "1");
        new.mtime("added", 1_000_000_000, 0);
        let destination = directory.path().join("now");
        crate::tree::copy(old.root(), &destination);
        now(&Tree::at(&destination, 1));
        let between = Between { old: Snapshot::take(old.root()), new: Snapshot::take(new.root()) };
        between.violations(&Snapshot::take(&destination))
    }

    fn put_new(tree: &Tree) {
        tree.write("changed", "new content");
        tree.mtime("changed", 1_000_000_000 + 0o644, 0);
        tree.mode("same", 0o644);
        tree.mtime("same", 1_000_000_000 + 0o644, 0);
        tree.write("added", "1");
        tree.mtime("added", 1_000_000_000, 0);
    }

    #[test]
    fn what_a_killed_run_may_leave_passes() {
        assert_eq!(judge(|_| ()), Vec::<String>::new());
        assert_eq!(judge(put_new), Vec::<String>::new());
        assert_eq!(judge(|tree| tree.mode("same", 0o644)), Vec::<String>::new());
        assert_eq!(judge(|tree| drop(tree.write(".orbit-stage/w0/0", "half"))), Vec::<String>::new());
        let everything = |tree: &Tree| {
            put_new(tree);
            tree.remove("deleted");
        };
        assert_eq!(judge(everything), Vec::<String>::new());
    }

    #[test]
    fn what_it_must_not_leave_does_not() {
        let wrongs: [fn(&Tree); 7] = [
            |tree| drop(tree.write("changed", "new con")),
            |tree| drop(tree.write("changed", "new content")),
            |tree| tree.remove("changed"),
            |tree| tree.mode("same", 0o666),
            |tree| drop(tree.write("changed.part", "new content")),
            |tree| tree.remove("deleted"),
            |tree| drop(tree.write("same", "else")),
        ];
        for (number, wrong) in wrongs.into_iter().enumerate() {
            assert_ne!(judge(wrong), Vec::<String>::new(), "number {number} passes");
        }
    }
}
