//! [`Databases`] as [`orbit_store`] keeps them.

use crate::databases::{Batch, Databases, Incoming, Loaded, Pinned, Snapshot};
use orbit_core::grid::Change;
use orbit_store::{
    JobsBatch, Mark, NucleusStore, PinnedStore, SnapshotFile, SnapshotManifest, SnapshotReceiver, StoreError,
};
use std::sync::Arc;

impl Databases for NucleusStore {
    fn jobs_mark(&self) -> Result<Mark, StoreError> {
        Ok(Self::jobs_mark(self).clone())
    }

    fn universe_mark(&self) -> Result<Mark, StoreError> {
        Ok(Self::universe_mark(self).clone())
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let loaded = Self::load(self)?;
        Ok(Loaded { state: loaded.state, requests: loaded.requests })
    }

    fn commit_jobs(&mut self, batch: &Batch, mark: &Mark) -> Result<(), StoreError> {
        let batch =
            JobsBatch { changes: &batch.changes, requests: &batch.requests, forgotten: &batch.forgotten };
        Self::commit_jobs(self, &batch, mark)
    }

    fn commit_universe(&mut self, changes: &[Change], mark: &Mark) -> Result<(), StoreError> {
        Self::commit_universe(self, changes, mark)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Self::flush(self)
    }

    fn pin(&mut self) -> Result<Box<dyn Pinned>, StoreError> {
        Ok(Box::new(Self::pin(self)?))
    }

    fn newest_snapshot(&self) -> Result<Option<Arc<dyn Snapshot>>, StoreError> {
        Ok(Self::newest_snapshot(self)?.map(|file| Arc::new(file) as Arc<dyn Snapshot>))
    }

    fn pending_snapshot(&self) -> Result<Option<SnapshotManifest>, StoreError> {
        Ok(Self::pending_snapshot(self)?.map(|file| file.manifest().clone()))
    }

    fn receive(&mut self, manifest: &SnapshotManifest) -> Result<Box<dyn Incoming>, StoreError> {
        Ok(Box::new(Self::receive(self, manifest)?))
    }

    fn install(&mut self, manifest: &SnapshotManifest) -> Result<(), StoreError> {
        // openraft asks for what was received, so it is there unless somebody removed the file.
        let gone = StoreError::SnapshotRefused { what: "it is not here any more" };
        let file = self.snapshot(manifest)?.ok_or(gone)?;
        Self::install(self, &file)
    }
}

impl Pinned for PinnedStore {
    fn write(self: Box<Self>) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(self.write_snapshot()?))
    }
}

impl Snapshot for SnapshotFile {
    fn manifest(&self) -> &SnapshotManifest {
        Self::manifest(self)
    }

    fn read_part(&self, number: u32) -> Result<Vec<u8>, StoreError> {
        Self::read_part(self, number)
    }
}

impl Incoming for SnapshotReceiver {
    fn have(&self) -> u32 {
        Self::have(self)
    }

    fn put(&mut self, number: u32, part: &[u8]) -> Result<(), StoreError> {
        Self::put(self, number, part)
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        Self::finish(*self).map(drop)
    }
}
