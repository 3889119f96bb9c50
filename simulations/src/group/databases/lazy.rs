//! [`Lazy`]: a database that is durable when it is flushed.

use crate::random::Random;

/// What a commit does to a database.
pub trait Commit<T>: Clone {
    /// Applies it.
    fn apply(&self, to: &mut T);
}

/// What a kind of database commits.
pub trait Table: Clone + Default {
    /// One transaction.
    type Commit: Commit<Self>;
}

/// A database as it is, and as a crash would leave it.
#[derive(Debug)]
pub struct Lazy<T: Table> {
    /// What a reader sees.
    pub now: T,
    durable: T,
    pending: Vec<T::Commit>,
}

impl<T: Table> Default for Lazy<T> {
    fn default() -> Self {
        Self::durable(T::default())
    }
}

impl<T: Table> Lazy<T> {
    /// A database that is on the disk.
    pub fn durable(now: T) -> Self {
        Self { durable: now.clone(), now, pending: Vec::new() }
    }

    /// A transaction.
    pub fn commit(&mut self, commit: T::Commit) {
        commit.apply(&mut self.now);
        self.pending.push(commit);
    }

    /// Everything is on the disk.
    pub fn flush(&mut self) {
        for commit in self.pending.drain(..) {
            commit.apply(&mut self.durable);
        }
    }

    /// A crash: some of the first transactions since the last flush are there, the rest is gone.
    pub fn cut(&mut self, random: &Random) {
        let kept = random.below(self.pending.len() + 1);
        self.pending.truncate(kept);
        self.flush();
        self.now.clone_from(&self.durable);
    }
}
