//! [`RemoteScan`]: a walk at a star, checked and filtered here.
//!
//! A star lists everything; what is left out is decided here, where the rules are, and the star is told not to descend
//! into it. It may be ahead of that, so what arrives below a pruned directory is dropped.
//!
//! If the stream breaks, every directory that had still to come is reported as one that could not be read, in its place
//! in the order: a listing that merely ends would look like a tree that ends there.

use super::bundle::ITEMS_MAX;
use super::error::{ProtocolFault, RemoteError};
use super::gather::{Gather, Outcome};
use super::known::Known;
use super::order::Order;
use super::session::{Session, to_error};
use super::system::{RemoteSystem, Sessions};
use orbit_core::filter::{PathFilter, is_reserved};
use orbit_core::system::{OrbitSystem, Scan, ScanFault, ScanOptions, SystemError};
use orbit_core::wire::codec::encode_frame;
use orbit_core::wire::listing::Piece;
use orbit_core::wire::system::{Bundled, Call, Reply, WireSystemError};
use orbit_core::{EntryKind, Listing, RelPath};
use std::io;
use std::sync::Arc;

/// Longest rule file that is read.
const RULE_BYTES_MAX: usize = 1 << 20;

/// A walk in progress. Dropping it ends it at the star.
pub struct RemoteScan {
    sessions: Arc<Sessions>,
    /// None once the walk is over, one way or another.
    session: Option<Session>,
    filter: Arc<dyn PathFilter>,
    order: Order,
    gather: Gather,
    /// What this machine holds of the same.
    known: Option<Known>,
    /// Frames that tell the star what not to descend into, until the next time it is listened to.
    prunes: Vec<u8>,
    broken: Option<Broken>,
}

/// Why a walk broke.
struct Broken {
    /// Until it was told.
    error: Option<io::Error>,
    kind: io::ErrorKind,
    /// A directory that came in part.
    partial: Option<RelPath>,
}

impl RemoteScan {
    /// Starts to walk. Fails if the start is not a directory that can be opened.
    ///
    /// What is `known` here as well is not sent, if the star holds the same.
    pub(super) fn start(
        sessions: Arc<Sessions>,
        options: &ScanOptions,
        known: Option<Known>,
    ) -> Result<Self, SystemError> {
        let (path, one_file_system) = (&options.start, options.one_file_system);
        let threads = options.threads.try_into().unwrap_or(u16::MAX);
        let start = path.as_bytes().to_vec();
        let call = match known {
            Some(_) => Call::ScanKnown { start, one_file_system, threads },
            None => Call::Scan { start, one_file_system, threads },
        };
        let start = path;
        let gather = Gather::new().map_err(SystemError::io("scan", start))?;
        let (session, reply) = sessions.exchange(&call).map_err(|error| error.on(start))?;
        if let Reply::Failed(error) = reply {
            let error = to_error(error).map_err(|error| error.on(start))?;
            sessions.keep(session);
            return Err(error);
        }
        let mut scan = Self {
            sessions,
            session: Some(session),
            filter: Arc::clone(&options.filter),
            order: Order::new(start.clone()),
            gather,
            known,
            prunes: Vec::new(),
            broken: None,
        };
        scan.take(reply).map_err(|error| error.on(start))?;
        Ok(scan)
    }

    /// The next directory that is complete; none at the end.
    fn advance(&mut self) -> Result<Option<Outcome>, RemoteError> {
        loop {
            if let Some(outcome) = self.gather.next(&mut self.order)? {
                return Ok(Some(outcome));
            }
            let Some(session) = &mut self.session else { return Ok(None) };
            if !self.prunes.is_empty() {
                session.write(&self.prunes).map_err(RemoteError::broken)?;
                self.prunes.clear();
            }
            let reply = session.receive()?;
            self.take(reply)?;
        }
    }

    fn take(&mut self, reply: Reply) -> Result<(), RemoteError> {
        match reply {
            Reply::Listings(pack) => Ok(self.gather.listings(&pack)?),
            Reply::ScanFault { directory, error } => {
                let path = RelPath::new(directory).map_err(|_| ProtocolFault::Path)?;
                self.gather.fault(ScanFault { path, error: to_error(error)? });
                Ok(())
            }
            Reply::Done => {
                self.gather.end();
                if let Some(session) = self.session.take() {
                    self.sessions.keep(session);
                }
                Ok(())
            }
            Reply::Bundles(bundles) => self.take_bundles(bundles),
            reply => Err(RemoteError::unexpected(&reply)),
        }
    }

    /// Answers which of the bundles are wanted, and takes them all.
    fn take_bundles(&mut self, bundles: Vec<Bundled>) -> Result<(), RemoteError> {
        let (Some(known), Some(session)) = (&mut self.known, &mut self.session) else {
            return Err(RemoteError::unexpected(&Reply::Bundles(bundles)));
        };
        let mut found = Vec::with_capacity(bundles.len());
        for Bundled(directory, name, hash, latest, is_open) in bundles {
            let directory = RelPath::new(directory.0).map_err(|_| ProtocolFault::Path)?;
            found.push((known.find(&(directory, name.0), &hash.0, latest), is_open));
        }
        let wanted = found.iter().map(|(own, _)| u8::from(own.is_none())).collect();
        session.send(&Call::Want { wanted })?;
        for (own, is_open) in found {
            let mut pieces = match own {
                Some(bundle) => bundle.pieces,
                None => receive_bundle(session, &mut self.gather)?,
            };
            if let Some(last) = pieces.last_mut() {
                last.continues = is_open;
            }
            self.gather.pieces(pieces);
        }
        Ok(())
    }

    /// Applies the filter to a directory, as a local scan does.
    fn sift(&mut self, mut listing: Listing) -> Result<Listing, ScanFault> {
        if let Err(error) = self.learn_rules(&listing) {
            self.order.leave(&listing.path);
            self.tell(&listing.path);
            return Err(ScanFault { path: listing.path, error });
        }
        let (path, mut excluded) = (listing.path.clone(), Vec::new());
        let filter = &self.filter;
        listing.retain(|name, metadata| {
            let is_directory = metadata.kind == EntryKind::Directory;
            let entry = path.join(name).expect("a name was checked when it arrived");
            let is_kept = !is_reserved(name) && !filter.excludes(&entry, is_directory);
            if is_directory && !is_kept {
                excluded.push(entry);
            }
            is_kept
        });
        for directory in excluded {
            self.tell(&directory);
            self.order.leave(&directory);
        }
        self.order.descend(&listing);
        Ok(listing)
    }

    /// Hands the directory's rule file to the filter, before anything in the directory is judged.
    fn learn_rules(&self, listing: &Listing) -> Result<(), SystemError> {
        let Some(rule_file) = self.filter.rule_file() else { return Ok(()) };
        let entries = listing.entries();
        if entries.binary_search_by(|entry| listing.name(entry).cmp(rule_file)).is_err() {
            return Ok(());
        }
        let path = listing.path.join(rule_file).map_err(|error| {
            SystemError::io("read rules", &listing.path)(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?;
        let rules = self.read_rules(&path)?;
        self.filter.learn(&listing.path, &rules);
        Ok(())
    }

    fn read_rules(&self, path: &RelPath) -> Result<Vec<u8>, SystemError> {
        let system = RemoteSystem::of(Arc::clone(&self.sessions));
        let rules = system.read_header(path, RULE_BYTES_MAX)?;
        if rules.len() == RULE_BYTES_MAX && system.metadata(path)?.size > RULE_BYTES_MAX as u64 {
            let wanted = "a rule file of at most 1 MiB";
            return Err(SystemError::WrongKind { path: path.clone(), wanted: wanted.into() });
        }
        Ok(rules)
    }

    /// Tells the star, the next time it is listened to, not to descend into a directory.
    fn tell(&mut self, directory: &RelPath) {
        if self.session.is_some() {
            self.prunes.extend(encode_frame(&Call::Prune { directory: directory.as_bytes().to_vec() }));
        }
    }

    /// The walk cannot go on.
    fn give_up(&mut self, error: RemoteError) {
        // Dropping the session tells the star.
        self.session = None;
        let error = error.into_io();
        let partial = self.gather.give_up();
        self.broken = Some(Broken { kind: error.kind(), error: Some(error), partial });
    }

    /// The next directory that will not come any more.
    fn missing(&mut self) -> Option<ScanFault> {
        let broken = self.broken.as_mut()?;
        let path = broken.partial.take().or_else(|| self.order.take_due())?;
        let again = || RemoteError::Link(io::Error::new(broken.kind, "the scan broke off before")).into_io();
        let error = broken.error.take().unwrap_or_else(again);
        Some(ScanFault { error: SystemError::io("scan", &path)(error), path })
    }
}

impl Scan for RemoteScan {
    fn next(&mut self) -> Option<Result<Listing, ScanFault>> {
        if self.broken.is_none() {
            match self.advance() {
                Ok(None) => return None,
                Ok(Some(Outcome::Listed(listing))) => return Some(self.sift(listing)),
                Ok(Some(Outcome::Fault(fault))) => return Some(Err(fault)),
                Err(error) => self.give_up(error),
            }
        }
        self.missing().map(Err)
    }

    fn prune(&mut self, directory: &RelPath) {
        if self.order.prune(directory) {
            self.tell(directory);
        }
    }
}

fn receive_bundle(session: &mut Session, gather: &mut Gather) -> Result<Vec<Piece>, RemoteError> {
    let mut pieces = Vec::new();
    let mut items = 0;
    loop {
        match session.receive()? {
            // Bundles are cut off far below that.
            Reply::Listings(pack) if items <= 4 * ITEMS_MAX => {
                for piece in gather.unpack(&pack)? {
                    items += 1 + piece.listing.len();
                    pieces.push(piece);
                }
            }
            Reply::BundleEnd => return Ok(pieces),
            reply => return Err(RemoteError::unexpected(&reply)),
        }
    }
}

/// Reads the one listing that answers [`Call::List`], or why there is none.
pub(super) fn read_listing(session: &mut Session) -> Result<Result<Listing, WireSystemError>, RemoteError> {
    let mut order = Order::new(RelPath::root());
    let mut gather = Gather::new().map_err(RemoteError::Link)?;
    let mut found = None;
    loop {
        match session.receive()? {
            Reply::Listings(pack) => gather.listings(&pack)?,
            Reply::Failed(error) => return Ok(Err(error)),
            reply @ Reply::Done => {
                gather.end();
                return match (gather.next(&mut order)?, found) {
                    (None, Some(listing)) => Ok(Ok(listing)),
                    _ => Err(RemoteError::unexpected(&reply)),
                };
            }
            reply => return Err(RemoteError::unexpected(&reply)),
        }
        if let Some(Outcome::Listed(listing)) = gather.next(&mut order)? {
            found = Some(listing);
        }
    }
}
