//! [`SimStagedFile`]: a regular file being staged.

use crate::disk::Disk;
use crate::disk::state::Inode;
use orbit_core::ByteRange;
use orbit_core::system::SourceFile;
use orbit_core::writer::{AttributeChange, StagedFile, StagedName};
use std::io;
use std::sync::Arc;

/// An open staged file.
pub struct SimStagedFile {
    /// Where it is.
    pub disk: Arc<Disk>,
    /// Which it is.
    pub inode: Inode,
    /// Its name.
    pub name: StagedName,
}

impl StagedFile for SimStagedFile {
    fn name(&self) -> &StagedName {
        &self.name
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write(self.inode, &self.name.0, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read(self.inode, &self.name.0, buffer, offset)
    }

    fn clone_from(&mut self, _: &dyn SourceFile) -> io::Result<bool> {
        Ok(false)
    }

    fn copy_from(&mut self, _: &dyn SourceFile, _: ByteRange) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.disk.set_len(self.inode, &self.name.0, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync_file(self.inode, &self.name.0)
    }

    fn forget_cache(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_attributes(&mut self, change: &AttributeChange<'_>) -> io::Result<()> {
        if change.set_mode {
            self.disk.set_mode(&self.name.0, change.attributes.mode)?;
        }
        self.disk.set_time(&self.name.0, change.attributes.mtime.seconds)
    }
}
