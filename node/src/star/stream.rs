//! A scan's replies: listings packed together, and faults between them.

use super::answer::Asked;
use super::session::{Gone, Replies};
use crate::remote::pack::{Packer, Row};
use orbit_core::Listing;
use orbit_core::system::Scan;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::encode;
use orbit_core::wire::system::{Reply, WireSystemError};
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
) -> Result<(), Gone> {
    let mut packing = Packing::new(replies, asked);
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
pub(super) fn send_one(
    listing: &Listing,
    replies: &Replies,
    asked: &Asked,
    entries: &AtomicU64,
) -> Result<(), Gone> {
    entries.fetch_add(listing.len() as u64, Relaxed);
    let mut packing = Packing::new(replies, asked);
    packing.add(listing)?;
    packing.flush()
}

struct Packing<'r> {
    replies: &'r Replies,
    asked: &'r Asked,
    zstd: Packer,
    rows: Vec<Row>,
    count: usize,
    sent: Option<Instant>,
}

impl<'r> Packing<'r> {
    fn new(replies: &'r Replies, asked: &'r Asked) -> Self {
        Self { replies, asked, zstd: Packer::new().expect("memory"), rows: Vec::new(), count: 0, sent: None }
    }

    fn add(&mut self, listing: &Listing) -> Result<(), Gone> {
        let entries: Vec<_> = listing.iter().collect();
        let pieces = entries.len().div_ceil(8192).max(1);
        for piece in 0..pieces {
            let rows = entries.iter().skip(piece * 8192).take(8192);
            let rows: Vec<_> = rows.map(|(name, m)| (Octets(name.to_vec()), **m)).collect();
            self.count += rows.len();
            self.rows.push((
                Octets(listing.path.as_bytes().to_vec()),
                listing.is_boundary,
                piece + 1 < pieces,
                rows,
            ));
            if self.count > 8192 {
                self.flush()?;
            }
        }
        if self.sent.is_none_or(|sent| sent.elapsed() > WAIT_MAX) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        self.sent = Some(Instant::now());
        if self.rows.is_empty() {
            return Ok(());
        }
        let pack = encode(&self.rows);
        self.rows.clear();
        self.count = 0;
        let packed = self.zstd.compress(&pack).expect("compresses");
        let _ = self.asked;
        self.replies.send(&Reply::Listings(packed))
    }
}
