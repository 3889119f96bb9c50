//! [`Gather`]: makes whole directories of what arrives in pieces.

use super::error::ProtocolFault;
use super::order::{Arrival, Order};
use super::pack::Unpacker;
use orbit_core::system::ScanFault;
use orbit_core::wire::listing::Piece;
use orbit_core::{Listing, RelPath};
use std::collections::VecDeque;
use std::io;

/// Entries one directory may have: some 2 GB of memory.
const ENTRIES_MAX: usize = 1 << 24;

/// Bytes of names one directory may have.
const NAME_BYTES_MAX: usize = 1 << 30;

/// What arrived and is not handed out yet: at most one pack and one directory.
pub(super) struct Gather {
    unpacker: Unpacker,
    parts: VecDeque<Part>,
    /// A directory of which more is to come.
    partial: Option<Partial>,
}

enum Part {
    Piece(Piece),
    Fault(ScanFault),
    End,
}

struct Partial {
    listing: Listing,
    arrival: Arrival,
    name_bytes: usize,
}

/// What became of a directory.
pub(super) enum Outcome {
    Listed(Listing),
    Fault(ScanFault),
}

impl Gather {
    pub fn new() -> io::Result<Self> {
        Ok(Self { unpacker: Unpacker::new()?, parts: VecDeque::new(), partial: None })
    }

    /// Takes a pack of listings.
    pub fn listings(&mut self, pack: &[u8]) -> Result<(), ProtocolFault> {
        self.parts.extend(self.unpacker.unpack(pack)?.into_iter().map(Part::Piece));
        Ok(())
    }

    /// The listings of a pack, which are not taken yet.
    pub fn unpack(&mut self, pack: &[u8]) -> Result<Vec<Piece>, ProtocolFault> {
        Ok(self.unpacker.unpack(pack)?)
    }

    /// Takes listings.
    pub fn pieces(&mut self, pieces: Vec<Piece>) {
        self.parts.extend(pieces.into_iter().map(Part::Piece));
    }

    /// Takes a directory that could not be read.
    pub fn fault(&mut self, fault: ScanFault) {
        self.parts.push_back(Part::Fault(fault));
    }

    /// Takes the end.
    pub fn end(&mut self) {
        self.parts.push_back(Part::End);
    }

    /// The next directory that is complete and wanted; none if more must arrive first.
    pub fn next(&mut self, order: &mut Order) -> Result<Option<Outcome>, ProtocolFault> {
        while let Some(part) = self.parts.pop_front() {
            let outcome = match part {
                Part::Piece(piece) => self.add(piece, order)?.map(Outcome::Listed),
                Part::Fault(fault) => {
                    self.expect_border(&fault.path)?;
                    (order.arrive(&fault.path)? == Arrival::Due).then_some(Outcome::Fault(fault))
                }
                Part::End => {
                    let cut = self.partial.as_ref().map(|partial| &partial.listing.path);
                    if let Some(missing) = cut.or_else(|| order.due()) {
                        return Err(ProtocolFault::Incomplete { missing: missing.clone() });
                    }
                    None
                }
            };
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        Ok(None)
    }

    /// Forgets everything; says which directory was in the middle of arriving.
    pub fn give_up(&mut self) -> Option<RelPath> {
        self.parts.clear();
        let partial = self.partial.take().filter(|partial| partial.arrival == Arrival::Due);
        partial.map(|partial| partial.listing.path)
    }

    fn add(&mut self, piece: Piece, order: &mut Order) -> Result<Option<Listing>, ProtocolFault> {
        let Piece { listing, continues } = piece;
        let partial = match self.partial.take() {
            None => {
                let arrival = order.arrive(&listing.path)?;
                if !continues {
                    return Ok((arrival == Arrival::Due).then_some(listing));
                }
                Partial { name_bytes: name_bytes(&listing), listing, arrival }
            }
            Some(partial) => {
                if partial.listing.path != listing.path {
                    let got = listing.path;
                    let expected = Some(partial.listing.path.clone());
                    self.partial = Some(partial);
                    return Err(ProtocolFault::Order { got, expected });
                }
                self.join(partial, &listing)?
            }
        };
        if continues {
            self.partial = Some(partial);
            return Ok(None);
        }
        Ok((partial.arrival == Arrival::Due).then_some(partial.listing))
    }

    /// Appends a further piece of a directory.
    fn join(&mut self, mut partial: Partial, listing: &Listing) -> Result<Partial, ProtocolFault> {
        if partial.arrival == Arrival::Unwanted {
            return Ok(partial);
        }
        let name_bytes = partial.name_bytes + name_bytes(listing);
        let len = partial.listing.len() + listing.len();
        let last = partial.listing.entries().last().map(|entry| partial.listing.name(entry));
        let first = listing.entries().first().map(|entry| listing.name(entry));
        let fault = if len > ENTRIES_MAX || name_bytes > NAME_BYTES_MAX {
            Some(ProtocolFault::TooMany { path: listing.path.clone() })
        } else if last.is_some() && first.is_some() && last >= first {
            Some(ProtocolFault::Names { path: listing.path.clone() })
        } else {
            None
        };
        if let Some(fault) = fault {
            self.partial = Some(partial);
            return Err(fault);
        }
        for (name, metadata) in listing.iter() {
            partial.listing.push(name, *metadata);
        }
        partial.name_bytes = name_bytes;
        Ok(partial)
    }

    /// Between two directories a third may come.
    fn expect_border(&self, got: &RelPath) -> Result<(), ProtocolFault> {
        match &self.partial {
            None => Ok(()),
            Some(partial) => {
                let expected = Some(partial.listing.path.clone());
                Err(ProtocolFault::Order { got: got.clone(), expected })
            }
        }
    }
}

fn name_bytes(listing: &Listing) -> usize {
    listing.iter().map(|(name, _)| name.len()).sum()
}
