//! [`expected`]: what a sync must leave, worked out from the two trees alone, without planner or plan.

use super::tree::Tree;
use crate::entry::{Attributes, EntryKind, Metadata};
use crate::filter::PathFilter;
use crate::rel_path::RelPath;
use std::collections::{BTreeMap, BTreeSet};

/// What counts when an object is compared with what it should be. Directories that only the destination has get no
/// attributes: what was deleted in them moved their times.
pub type Facts = (EntryKind, u8, u64, Option<Attributes>);

pub struct Rules<'a> {
    pub source: &'a Tree,
    pub destination: &'a Tree,
    pub filter: &'a dyn PathFilter,
    /// Whether deletions happen.
    pub deletes: bool,
    pub source_failing: &'a BTreeSet<RelPath>,
    pub destination_failing: &'a BTreeSet<RelPath>,
}

pub fn expected(rules: &Rules<'_>) -> BTreeMap<RelPath, Facts> {
    let mut out = BTreeMap::new();
    rules.visit(&RelPath::root(), &mut out);
    out
}

pub fn facts(tree: &Tree, path: &RelPath) -> Facts {
    let object = &tree.objects[path];
    let Metadata { kind, rdev, attributes, .. } = object.metadata;
    (kind, object.content, rdev, Some(attributes))
}

impl Rules<'_> {
    fn visit(&self, path: &RelPath, out: &mut BTreeMap<RelPath, Facts>) {
        let existing = self.destination.objects.get(path).map(|object| object.metadata);
        let source = self.source.objects.get(path).map(|object| object.metadata);
        let Some(source) = source.filter(|source| !self.excludes(path, source)) else {
            let stays = existing.is_some_and(|existing| !self.deletes || self.excludes(path, &existing));
            if stays {
                self.keep(path, out);
            } else if existing.is_some() {
                self.delete(path, out);
            }
            return;
        };
        let is_other = existing.filter(|existing| existing.is_directory() != source.is_directory());
        let is_protected = is_other.is_some_and(|existing| self.excludes(path, &existing));
        let fails = self.source_failing.contains(path)
            || (existing.is_some_and(|e| e.is_directory()) && self.destination_failing.contains(path));
        if is_protected || source.kind == EntryKind::Socket || (source.is_directory() && fails) {
            self.keep(path, out);
            return;
        }
        if source.is_directory() {
            out.insert(path.clone(), facts(self.source, path));
            let mut children: BTreeSet<_> = self.source.children(path).into_iter().collect();
            if existing.is_some_and(|existing| existing.is_directory()) {
                children.extend(self.destination.children(path));
            }
            for child in &children {
                self.visit(child, out);
            }
            return;
        }
        if is_other.is_some() {
            if self.deletes {
                self.delete_inside(path, out);
            } else {
                self.keep_inside(path, out);
            }
            if out.keys().any(|other| other.starts_with(path)) {
                // It holds something still, so it stays.
                self.keep_directory(path, out);
                return;
            }
        }
        out.insert(path.clone(), facts(self.source, path));
    }

    fn excludes(&self, path: &RelPath, metadata: &Metadata) -> bool {
        !path.is_root() && self.filter.excludes(path, metadata.is_directory())
    }

    fn keep(&self, path: &RelPath, out: &mut BTreeMap<RelPath, Facts>) {
        let kept = self.destination.objects.keys().filter(|other| other.starts_with(path));
        out.extend(kept.map(|path| (path.clone(), facts(self.destination, path))));
    }

    fn keep_inside(&self, path: &RelPath, out: &mut BTreeMap<RelPath, Facts>) {
        self.destination.children(path).iter().for_each(|child| self.keep(child, out));
    }

    fn keep_directory(&self, path: &RelPath, out: &mut BTreeMap<RelPath, Facts>) {
        let (kind, content, device, _) = facts(self.destination, path);
        out.insert(path.clone(), (kind, content, device, None));
    }

    /// Deletes what is not excluded; a directory stays if something in it does.
    fn delete(&self, path: &RelPath, out: &mut BTreeMap<RelPath, Facts>) {
        if self.excludes(path, &self.destination.objects[path].metadata) {
            self.keep(path, out);
            return;
        }
        self.delete_inside(path, out);
        if out.keys().any(|other| other.starts_with(path)) {
            self.keep_directory(path, out);
        }
    }

    fn delete_inside(&self, path: &RelPath, out: &mut BTreeMap<RelPath, Facts>) {
        self.destination.children(path).iter().for_each(|child| self.delete(child, out));
    }
}
