//! [`Known`]: a walk of the destination beside one at a star: what both have need not be sent.

use super::bundle::{Bundle, Bundler};
use orbit_core::system::Scan;
use orbit_core::{RelPath, Timestamp};
use std::cmp::Ordering;
use std::collections::VecDeque;

/// What this machine holds, in the order of the walk.
pub struct Known {
    scan: Option<Box<dyn Scan>>,
    bundler: Bundler,
    ready: VecDeque<Bundle>,
}

impl Known {
    /// What `scan` gives.
    pub fn new(scan: Box<dyn Scan>) -> Self {
        Self { scan: Some(scan), bundler: Bundler::default(), ready: VecDeque::new() }
    }

    /// What stands for a bundle of the source. The source's come in order.
    pub fn find(&mut self, first: &(RelPath, Vec<u8>), hash: &[u8], latest: Timestamp) -> Option<Bundle> {
        loop {
            self.fill();
            let own = self.ready.front()?;
            match own.first.cmp(first) {
                Ordering::Less => drop(self.ready.pop_front()),
                Ordering::Equal if own.stands_for(hash, latest) => return self.ready.pop_front(),
                Ordering::Equal | Ordering::Greater => return None,
            }
        }
    }

    fn fill(&mut self) {
        while self.ready.is_empty()
            && let Some(scan) = &mut self.scan
        {
            match scan.next() {
                Some(Ok(listing)) => self.bundler.push(&listing, &mut self.ready),
                // What cannot be listed here, the source tells.
                Some(Err(_)) => {}
                None => {
                    self.scan = None;
                    self.ready.extend(self.bundler.finish());
                }
            }
        }
    }
}
