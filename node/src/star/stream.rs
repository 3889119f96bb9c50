//! A scan's replies: listings packed together, and faults between them.

use super::answer::{Asked, NoAnswer};
use super::session::Replies;
use crate::remote::pack::Packer;
use orbit_core::system::{Scan, SystemError};
use orbit_core::wire::listing::ListingPacker;
use orbit_core::wire::system::{Reply, WireSystemError};
use orbit_core::{Listing, RelPath};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long listings wait for others to be packed with.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Sends everything a scan gives, until its end or until no more is wanted.
pub(super) fn send(
    scan: &mut dyn Scan,
    replies: &Replies,
    asked: &Asked,
    entries: &AtomicU64,
) -> Result<(), NoAnswer> {
    let mut packing = Packing::new(replies)?;
    loop {
        for directory in asked.take_prunes() {
            scan.prune(&directory);
        }
        if asked.is_stopped() {
            return Ok(());
        }
        match scan.next() {
            None => return packing.flush(),
            Some(Ok(listing)) => {
                entries.fetch_add(listing.len() as u64, Relaxed);
                packing.add(&listing)?;
            }
            Some(Err(fault)) => {
                packing.flush()?;
                let directory = fault.path.as_bytes().to_vec();
                let error = WireSystemError::from(&fault.error);
                replies.send(&Reply::ScanFault { directory, error })?;
            }
        }
    }
}

/// Sends one directory.
pub(super) fn send_one(listing: &Listing, replies: &Replies, entries: &AtomicU64) -> Result<(), NoAnswer> {
    entries.fetch_add(listing.len() as u64, Relaxed);
    let mut packing = Packing::new(replies)?;
    packing.add(listing)?;
    packing.flush()
}

/// Gathers listings and sends them as they fill a pack.
struct Packing<'r> {
    replies: &'r Replies,
    packer: ListingPacker,
    zstd: Packer,
    /// When the last pack went out; none did yet.
    sent: Option<Instant>,
}

impl<'r> Packing<'r> {
    fn new(replies: &'r Replies) -> Result<Self, SystemError> {
        let zstd = Packer::new().map_err(SystemError::io("compress listings of", &RelPath::root()))?;
        Ok(Self { replies, packer: ListingPacker::new(), zstd, sent: None })
    }

    fn add(&mut self, listing: &Listing) -> Result<(), NoAnswer> {
        let mut from = 0;
        while let Some(next) = self.packer.push(listing, from) {
            self.flush()?;
            from = next;
        }
        // The first goes at once: the asker learns from it that the walk has begun.
        if self.sent.is_none_or(|sent| sent.elapsed() > WAIT_MAX) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NoAnswer> {
        if self.packer.is_empty() {
            return Ok(());
        }
        let pack = self.packer.finish();
        let packed =
            self.zstd.compress(&pack).map_err(SystemError::io("compress listings of", &RelPath::root()))?;
        self.replies.send(&Reply::Listings(packed))?;
        self.sent = Some(Instant::now());
        Ok(())
    }
}
