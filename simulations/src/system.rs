//! [`SimSystem`]: `OrbitSystem` over a [`Disk`].

use crate::disk::Disk;
use crate::disk::state::Inode;
use orbit_core::filter::{PathFilter, is_reserved};
use orbit_core::system::{
    ChunkDetail, OrbitSystem, Scan, ScanFault, ScanOptions, SourceFile, SystemError, Xattr,
};
use orbit_core::{ByteRange, Chunk, ContentHash, Listing, Metadata, RelPath};
use std::io;
use std::sync::Arc;

/// Reads a disk.
#[derive(Clone, Debug)]
pub struct SimSystem {
    disk: Arc<Disk>,
}

impl SimSystem {
    /// A reader of `disk`.
    pub const fn new(disk: Arc<Disk>) -> Self {
        Self { disk }
    }
}

impl OrbitSystem for SimSystem {
    fn scan(&self, options: &ScanOptions) -> Result<Box<dyn Scan>, SystemError> {
        let open = vec![options.start.clone()];
        Ok(Box::new(SimScan { disk: self.disk.clone(), filter: options.filter.clone(), open }))
    }

    fn metadata(&self, path: &RelPath) -> Result<Metadata, SystemError> {
        self.disk.stat(path).map_err(SystemError::io("look at", path))
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, SystemError> {
        self.disk.read_link(path).map_err(SystemError::io("read", path))
    }

    fn xattrs(&self, _: &RelPath) -> Result<Vec<Xattr>, SystemError> {
        Ok(Vec::new())
    }

    fn read_header(&self, path: &RelPath, len: usize) -> Result<Vec<u8>, SystemError> {
        let mut header = vec![0; len];
        let read = self.open(path)?.read_at(&mut header, 0).map_err(SystemError::io("read", path))?;
        header.truncate(read);
        Ok(header)
    }

    fn hash_range(&self, path: &RelPath, _: ByteRange) -> Result<ContentHash, SystemError> {
        self.chunk(path, ChunkDetail::RootOnly, &mut |_| {})
    }

    /// The simulation never compares by content, and a model of BLAKE3 would prove nothing.
    fn chunk(
        &self,
        path: &RelPath,
        _: ChunkDetail,
        _: &mut dyn FnMut(Chunk),
    ) -> Result<ContentHash, SystemError> {
        Err(SystemError::io("hash", path)(io::ErrorKind::Unsupported.into()))
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn SourceFile>, SystemError> {
        let inode = self.disk.open(path).map_err(SystemError::io("open", path))?;
        Ok(Box::new(SimFile { disk: self.disk.clone(), inode, path: path.clone() }))
    }
}

/// An open file.
struct SimFile {
    disk: Arc<Disk>,
    inode: Inode,
    path: RelPath,
}

impl SourceFile for SimFile {
    fn metadata(&self) -> io::Result<Metadata> {
        self.disk.stat_open(self.inode, &self.path)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read(self.inode, &self.path, buffer, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<ByteRange>> {
        Ok(ByteRange::new(offset, u64::MAX - offset).ok())
    }

    fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        Ok(Vec::new())
    }
}

/// A walk: directories still to come, the next one last.
struct SimScan {
    disk: Arc<Disk>,
    filter: Arc<dyn PathFilter>,
    open: Vec<RelPath>,
}

impl Scan for SimScan {
    fn next(&mut self) -> Option<Result<Listing, ScanFault>> {
        let path = self.open.pop()?;
        let found = match self.disk.list(&path) {
            Ok(found) => found,
            Err(error) => {
                let error = SystemError::io("read", &path)(error);
                return Some(Err(ScanFault { path, error }));
            }
        };
        let mut listing = Listing::new(path.clone());
        let mut below = Vec::new();
        for (name, metadata) in found {
            let child = path.join(&name).expect("names on the disk are plain");
            if is_reserved(&name) || self.filter.excludes(&child, metadata.is_directory()) {
                continue;
            }
            listing.push(&name, metadata);
            if metadata.is_directory() {
                below.push(child);
            }
        }
        self.open.extend(below.into_iter().rev());
        Some(Ok(listing))
    }

    fn prune(&mut self, directory: &RelPath) {
        self.open.retain(|path| path != directory);
    }
}
