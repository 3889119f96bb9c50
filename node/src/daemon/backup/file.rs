//! The file of a backup.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `ORBITBK1` |
//! | 8 | 4 | length of the header, little endian; at most [`HEADER_BYTES_MAX`] |
//! | 12 | | [`Header`], CBOR |
//! | | | the snapshot's parts one after the other, as its manifest says: 1 MiB each but the last |
//! | | 32 | BLAKE3 of everything before |
//!
//! A backup of a later version has other first bytes and is refused by this one; later versions read this one.

use crate::api::types::{BackupView, ErrorCode, GridView};
use crate::daemon::seal::{SealError, SealKey, Stretch};
use orbit_cdc::ContentHasher;
use orbit_consensus::databases::Snapshot;
use orbit_core::ids::GridId;
use orbit_core::wire::{WireError, bytes, decode, encode};
use orbit_store::{SnapshotManifest, StoreError};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// First bytes.
const MAGIC: &[u8; 8] = b"ORBITBK1";
/// Longest header, bytes: a manifest of the largest snapshot takes 2 MiB.
pub const HEADER_BYTES_MAX: usize = 4 << 20;
/// For what a grid's seal key is sealed in a backup.
pub const SEAL_KEY: &str = "orbit backup: seal key v1";
/// For what the grid's id is sealed in a backup without the seal key: proof that a key is the right one.
pub const PROOF: &str = "orbit backup: proof v1";

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Another kind of file, or a backup of a later version.
    #[error("{} is no backup that this version of orbit can read", path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
    },
    /// It is cut off, or bytes in it are not what was written.
    #[error("the backup {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Its header cannot be understood.
    #[error("the header of the backup {} cannot be understood", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WireError,
    },
    /// It cannot be read.
    #[error("cannot read the backup {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the backup {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The snapshot that it would be made of cannot be read.
    #[error("cannot read the snapshot for the backup")]
    Snapshot(#[source] StoreError),
    /// The passphrase does not open it.
    #[error("the passphrase does not open the backup {}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// The seal key does not open it.
    #[error("the seal key is not the one that the backup {} needs", path.display())]
    OtherSealKey {
        /// The file.
        path: PathBuf,
    },
    /// Its secrets are sealed in a way that is not known here.
    #[error("the secrets of the backup {} cannot be opened", path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
}

impl BackupError {
    /// What kind of failure; decides the exit code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoBackup { .. } => ErrorCode::Usage,
            Self::Read { source, .. } | Self::Write { source, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                ErrorCode::NotFound
            }
            Self::Passphrase { .. } | Self::OtherSealKey { .. } => ErrorCode::Refused,
            _ => ErrorCode::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoBackup { .. } => {
                "give a file that `orbit backup` wrote; a newer one needs the newer orbit"
            }
            Self::Damaged { .. } | Self::Header { .. } => {
                "take another copy; voters keep the last seven nights in nucleus/backups/ of their data directory"
            }
            Self::Passphrase { .. } => {
                "try again with the passphrase that was given when the backup was made"
            }
            Self::OtherSealKey { .. } => {
                "a nightly backup opens with the grid's nucleus/seal.key: restore it on a machine that was a voter, or name the \
                 key's file with --seal-key"
            }
            Self::Write { .. } | Self::Read { .. } | Self::Snapshot(_) | Self::Seal { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// How much of each kind a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Members.
    pub nodes: u32,
    /// Join tokens.
    pub tokens: u32,
    /// Constellations.
    pub constellations: u32,
    /// Certificate authorities.
    pub authorities: u32,
}

/// How the secrets in a backup are sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Secrets {
    /// The grid's seal key is in it, sealed under a key that is made of a passphrase.
    Passphrase {
        /// How that key is made.
        stretch: Stretch,
        /// The seal key, sealed for [`SEAL_KEY`].
        #[serde(with = "bytes")]
        seal_key: Vec<u8>,
    },
    /// The grid's seal key is not in it.
    Grid {
        /// The grid's id, sealed for [`PROOF`].
        #[serde(with = "bytes")]
        proof: Vec<u8>,
    },
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The grid.
    pub grid: GridId,
    /// Its name.
    pub grid_name: String,
    /// Its epoch then.
    pub epoch: u32,
    /// When it was made, milliseconds since 1970.
    pub made_ms: i64,
    /// The node that made it.
    pub made_by: String,
    /// What it holds.
    pub tally: Tally,
    /// Its secrets.
    pub secrets: Secrets,
    /// The snapshot that follows.
    pub manifest: SnapshotManifest,
}

impl Header {
    /// As the API shows it.
    pub fn view(&self) -> BackupView {
        BackupView {
            grid: GridView { id: self.grid.to_string(), name: self.grid_name.clone() },
            epoch: self.epoch,
            index: self.manifest.mark.position.map_or(0, |position| position.index),
            made_ms: self.made_ms,
            made_by: self.made_by.clone(),
            nodes: self.tally.nodes,
            tokens: self.tally.tokens,
            constellations: self.tally.constellations,
            authorities: self.tally.authorities,
            bytes: self.manifest.bytes,
            sealed_under: match self.secrets {
                Secrets::Passphrase { .. } => "passphrase",
                Secrets::Grid { .. } => "grid",
            }
            .to_owned(),
        }
    }

    /// The grid's seal key, by a passphrase. Takes a while.
    pub fn open_with_passphrase(&self, path: &Path, passphrase: &str) -> Result<SealKey, BackupError> {
        let Secrets::Passphrase { stretch, seal_key } = &self.secrets else {
            return Err(BackupError::Passphrase { path: path.to_owned() });
        };
        let opened =
            SealKey::from_passphrase(passphrase, stretch).and_then(|key| key.unseal(SEAL_KEY, seal_key));
        let opened = opened.map_err(|error| match error {
            SealError::Wrong => BackupError::Passphrase { path: path.to_owned() },
            source => BackupError::Seal { path: path.to_owned(), source },
        })?;
        let key = opened.as_slice().try_into();
        key.map(SealKey::from_bytes)
            .map_err(|_| BackupError::Seal { path: path.to_owned(), source: SealError::Format })
    }

    /// Whether a seal key is the grid's. A backup under a passphrase does not tell before that is known.
    pub fn check_seal_key(&self, path: &Path, key: &SealKey) -> Result<(), BackupError> {
        let other = || BackupError::OtherSealKey { path: path.to_owned() };
        let Secrets::Grid { proof } = &self.secrets else { return Err(other()) };
        let proved = key.unseal(PROOF, proof).map_err(|_| other())?;
        if proved.as_slice() == self.grid.as_bytes() { Ok(()) } else { Err(other()) }
    }
}

/// A backup as pieces of at most 4 MiB, in order.
pub struct Pieces {
    header: Header,
    snapshot: Arc<dyn Snapshot>,
    hasher: ContentHasher,
    at: At,
}

/// What comes next.
enum At {
    Header,
    Part(u32),
    Hash,
    End,
}

impl Pieces {
    /// Of a snapshot, whose manifest is in the header.
    pub fn new(header: Header, snapshot: Arc<dyn Snapshot>) -> Self {
        Self { header, snapshot, hasher: ContentHasher::new(), at: At::Header }
    }

    /// What the backup says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn after_part(&self, next: u32) -> At {
        if (next as usize) < self.header.manifest.parts.len() { At::Part(next) } else { At::Hash }
    }
}

impl Iterator for Pieces {
    type Item = Result<Vec<u8>, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match self.at {
            At::Header => {
                let header = encode(&self.header);
                let len = u32::try_from(header.len())
                    .expect("a header is bounded by the largest snapshot's manifest");
                self.at = self.after_part(0);
                [MAGIC.as_slice(), &len.to_le_bytes(), &header].concat()
            }
            At::Part(number) => match self.snapshot.read_part(number) {
                Ok(part) => {
                    self.at = self.after_part(number + 1);
                    part
                }
                Err(error) => {
                    self.at = At::End;
                    return Some(Err(BackupError::Snapshot(error)));
                }
            },
            At::Hash => {
                self.at = At::End;
                return Some(Ok(self.hasher.finish().as_bytes().to_vec()));
            }
            At::End => return None,
        };
        self.hasher.update(&piece);
        Some(Ok(piece))
    }
}

/// Reads a backup, and checks each piece before it gives it.
pub struct Reader<R> {
    path: PathBuf,
    from: R,
    hasher: ContentHasher,
    header: Header,
    next: u32,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|source| BackupError::Read { path: path.to_owned(), source })?;
        Self::new(path, BufReader::with_capacity(1 << 20, file))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header. `path` is for messages.
    pub fn new(path: &Path, mut from: R) -> Result<Self, BackupError> {
        let mut hasher = ContentHasher::new();
        let mut head = [0; 12];
        let read =
            |bytes: &mut [u8], from: &mut R| from.read_exact(bytes).map_err(|source| failed(path, source));
        match read(&mut head, &mut from) {
            Ok(()) if head.starts_with(MAGIC) => {}
            Ok(()) | Err(BackupError::Damaged { .. }) => {
                return Err(BackupError::NoBackup { path: path.to_owned() });
            }
            Err(error) => return Err(error),
        }
        let len = u32::from_le_bytes(*head.last_chunk().expect("12 bytes end with 4")) as usize;
        if len > HEADER_BYTES_MAX {
            return Err(BackupError::Damaged { path: path.to_owned(), reason: "its header is too long" });
        }
        let mut bytes = vec![0; len];
        read(&mut bytes, &mut from)?;
        hasher.update(&head).update(&bytes);
        let header: Header =
            decode(&bytes).map_err(|source| BackupError::Header { path: path.to_owned(), source })?;
        if !header.manifest.is_possible() {
            return Err(BackupError::Damaged {
                path: path.to_owned(),
                reason: "its list of parts is impossible",
            });
        }
        Ok(Self { path: path.to_owned(), from, hasher, header, next: 0 })
    }

    /// What the backup says of itself. Proved only when [`finish`](Self::finish) has returned.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next part of the snapshot, checked; none after the last.
    pub fn next_part(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        let Some(len) = self.header.manifest.part_len(self.next) else { return Ok(None) };
        let mut part = vec![0; len];
        self.from.read_exact(&mut part).map_err(|source| failed(&self.path, source))?;
        if !self.header.manifest.is_part(self.next, &part) {
            return Err(self.damaged("a part of it is not what was written"));
        }
        self.hasher.update(&part);
        self.next += 1;
        Ok(Some(part))
    }

    /// Reads what is left and checks the whole.
    pub fn finish(mut self) -> Result<Header, BackupError> {
        while self.next_part()?.is_some() {}
        let mut hash = [0; 32];
        self.from.read_exact(&mut hash).map_err(|source| failed(&self.path, source))?;
        if hash != *self.hasher.finish().as_bytes() {
            return Err(self.damaged("its checksum does not fit"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(self.header),
            Ok(_) => Err(self.damaged("something follows its end")),
            Err(source) => Err(failed(&self.path, source)),
        }
    }

    fn damaged(&self, reason: &'static str) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), reason }
    }
}

fn failed(path: &Path, source: io::Error) -> BackupError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => {
            BackupError::Damaged { path: path.to_owned(), reason: "it is cut off" }
        }
        _ => BackupError::Read { path: path.to_owned(), source },
    }
}

/// A file that gets its final name only when it is whole, durable and was read back.
pub struct Staged {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
}

impl Staged {
    /// Beside the final name, readable by its owner only.
    pub fn create(path: &Path) -> Result<Self, BackupError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let failed = |source| BackupError::Write { path: path.to_owned(), source };
        let mut name = path.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?.to_owned();
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        let file = options.open(&partial).map_err(failed)?;
        Ok(Self { path: path.to_owned(), partial, file: Some(file) })
    }

    /// Makes it durable, reads all of it back, and gives it its name.
    pub fn keep(mut self) -> Result<Header, BackupError> {
        let failed = |source| BackupError::Write { path: self.path.clone(), source };
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(failed)?;
        }
        let header = Reader::open(&self.partial)?.finish()?;
        std::fs::rename(&self.partial, &self.path).map_err(failed)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(header)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What did not become whole goes.
impl Drop for Staged {
    fn drop(&mut self) {
        // Nothing is there under this name any more if it was kept.
        let _ = std::fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
mod tests;
