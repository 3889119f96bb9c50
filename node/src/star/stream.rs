//! A scan's replies: listings packed together, and faults between them.

use super::answer::{Asked, NoAnswer};
use super::session::Replies;
use crate::remote::bundle::{Bundle, Bundler};
use crate::remote::pack::Packer;
use orbit_core::system::{Scan, SystemError};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::listing::ListingPacker;
use orbit_core::wire::system::{Bundled, Reply, WireSystemError};
use orbit_core::{Listing, RelPath};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long listings wait for others to be packed with.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Bundles that are told of at a time: some 64 000 entries are held until the asker has said which it wants.
const BUNDLES_OFFERED: usize = 64;

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

/// Sends a walk in bundles, told by their hashes first, until its end or until no more is wanted.
pub(super) fn send_known(
    scan: &mut dyn Scan,
    replies: &Replies,
    asked: &Asked,
    entries: &AtomicU64,
) -> Result<(), NoAnswer> {
    let mut packing = Packing::new(replies)?;
    let (mut bundler, mut ready) = (Bundler::default(), VecDeque::new());
    let mut offered = Instant::now();
    loop {
        for directory in asked.take_prunes() {
            scan.prune(&directory);
        }
        let found = scan.next();
        match &found {
            Some(Ok(listing)) => {
                entries.fetch_add(listing.len() as u64, Relaxed);
                bundler.push(listing, &mut ready);
            }
            Some(Err(_)) | None => ready.extend(bundler.finish()),
        }
        let is_due = ready.len() >= BUNDLES_OFFERED || offered.elapsed() > WAIT_MAX;
        while !ready.is_empty() && (is_due || !matches!(found, Some(Ok(_)))) {
            let some: Vec<Bundle> = ready.drain(..ready.len().min(BUNDLES_OFFERED)).collect();
            if !offer(&some, replies, asked, &mut packing)? {
                return Ok(());
            }
            offered = Instant::now();
        }
        match found {
            None => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(fault)) => {
                let directory = fault.path.as_bytes().to_vec();
                let error = WireSystemError::from(&fault.error);
                replies.send(&Reply::ScanFault { directory, error })?;
            }
        }
    }
}

/// Offers bundles and sends those that are wanted. Whether the asker wants to hear more.
fn offer(
    bundles: &[Bundle],
    replies: &Replies,
    asked: &Asked,
    packing: &mut Packing<'_>,
) -> Result<bool, NoAnswer> {
    let told = bundles.iter().map(|bundle| {
        let (directory, name) = &bundle.first;
        let (directory, name) = (Octets(directory.as_bytes().to_vec()), Octets(name.clone()));
        Bundled(directory, name, Octets(bundle.hash.to_vec()), bundle.changed.0, bundle.is_open())
    });
    replies.send(&Reply::Bundles(told.collect()))?;
    let Some(wanted) = asked.wanted() else { return Ok(false) };
    // Of what nothing was said, nothing is known there.
    let is_wanted = |at: usize| wanted.get(at).is_none_or(|wanted| *wanted != 0);
    for (_, bundle) in bundles.iter().enumerate().filter(|(at, _)| is_wanted(*at)) {
        for piece in &bundle.pieces {
            packing.gather(&piece.listing)?;
        }
        packing.flush()?;
        replies.send(&Reply::BundleEnd)?;
    }
    Ok(true)
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

    /// Sends what fills packs.
    fn gather(&mut self, listing: &Listing) -> Result<(), NoAnswer> {
        let mut from = 0;
        while let Some(next) = self.packer.push(listing, from) {
            self.flush()?;
            from = next;
        }
        Ok(())
    }

    fn add(&mut self, listing: &Listing) -> Result<(), NoAnswer> {
        self.gather(listing)?;
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
