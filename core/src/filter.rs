//! [`PathFilter`]: which paths a scan leaves out, and the names Orbit keeps for itself.

use crate::rel_path::RelPath;

/// Decides what belongs to a tree. One filter serves both sides of a sync, so what is left out of the source is also
/// protected from deletion in the destination.
pub trait PathFilter: Send + Sync {
    /// Whether `path` is left out. A directory that is left out is not descended into.
    fn excludes(&self, path: &RelPath, is_directory: bool) -> bool;

    /// Name of the per-directory rule file a scan hands to [`learn`](Self::learn), if any is read.
    fn rule_file(&self) -> Option<&[u8]> {
        None
    }

    /// Takes in the rule file found in `directory`. A scan calls this before it judges that directory's entries.
    fn learn(&self, directory: &RelPath, rules: &[u8]) {
        let _ = (directory, rules);
    }
}

/// Leaves nothing out.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAll;

impl PathFilter for KeepAll {
    fn excludes(&self, _: &RelPath, _: bool) -> bool {
        false
    }
}

/// Directory in which files are staged before they are renamed into place.
pub const STAGE_NAME: &[u8] = b".orbit-stage";

/// Directory to which `--trash` moves what is replaced or deleted.
pub const TRASH_NAME: &[u8] = b".orbit-trash";

/// Whether a name is Orbit's own. Scans never report these.
pub fn is_reserved(name: &[u8]) -> bool {
    name == STAGE_NAME || name == TRASH_NAME
}
