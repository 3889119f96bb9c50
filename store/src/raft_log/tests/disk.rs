//! [`FakeDisk`]: what was not synced may be gone after a crash, in whole or in parts, in any order.

use crate::raft_log::LogDisk;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

/// Bytes that reach the disk together or not at all.
const SECTOR: usize = 16;
/// Zeros that a file is prepared with.
const PREPARED: usize = 100;

#[derive(Debug, Default)]
pub struct FakeDisk(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    files: BTreeMap<String, Content>,
    /// Changes until one fails.
    countdown: Option<u32>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What would be there after a crash; `None`: not even the file.
    durable: Option<Vec<u8>>,
    /// Bytes to the disk that a failed sync reported: a second sync does not write them.
    is_given_up: bool,
    /// Whether it was appended to since it was written as a whole: then zeros may follow.
    is_appended: bool,
}

impl FakeDisk {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().expect("no panic before")
    }

    /// Lets the next `count` changes succeed, and the one after them fail half way.
    pub fn fail_after(&self, count: u32) {
        self.files().countdown = Some(count);
    }

    /// Ends a [`fail_after`](Self::fail_after); whether a change failed.
    pub fn stop_failing(&self) -> bool {
        self.files().countdown.take().is_none()
    }

    /// The power goes. What was not synced is kept in parts that `seed` chooses.
    pub fn crash(&self, seed: u64) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> 32
        };
        let mut files = self.files();
        files.countdown = None;
        files.files.retain(|_, content| {
            let durable = match (&content.durable, draw() % 2) {
                (None, 0) => return false,
                (durable, _) => durable.clone().unwrap_or_default(),
            };
            let mut left = durable.clone();
            let len = durable.len()
                + (draw() as usize) % (content.seen.len().max(durable.len()) - durable.len() + 1);
            left.resize(len, 0);
            let choice = draw() % 4;
            for (at, byte) in left.iter_mut().enumerate().skip(durable.len()) {
                // None, all, or some sectors.
                let kept = match choice {
                    0 => false,
                    1 => true,
                    _ => (seed >> ((at / SECTOR) % 61)) & 1 == choice % 2,
                };
                if kept {
                    *byte = content.seen[at];
                }
            }
            *content = Content { seen: left.clone(), durable: Some(left), is_given_up: false, ..*content };
            true
        });
    }

    /// All files as they would be read.
    pub fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        self.files().files.iter().map(|(name, content)| (name.clone(), content.seen.clone())).collect()
    }

    /// A disk with these files.
    pub fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let content =
            |bytes: Vec<u8>| Content { seen: bytes.clone(), durable: Some(bytes), ..Content::default() };
        let files = files.into_iter().map(|(name, bytes)| (name, content(bytes))).collect();
        Self(Mutex::new(Files { files, countdown: None }))
    }
}

impl Files {
    /// Whether this change fails.
    fn fails(&mut self) -> bool {
        match &mut self.countdown {
            None => false,
            Some(0) => {
                self.countdown = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }
}

fn failed() -> io::Error {
    io::Error::other("the disk failed")
}

impl LogDisk for FakeDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let files = self.files();
        let content = files.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = content.seen.clone();
        if content.is_appended {
            bytes.resize(bytes.len().next_multiple_of(PREPARED), 0);
        }
        Ok(bytes)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        let fails = files.fails();
        let content = files.files.entry(name.to_owned()).or_default();
        content.is_appended = true;
        let written = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        content.seen.extend_from_slice(written);
        if fails { Err(failed()) } else { Ok(()) }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut files = self.files();
        let fails = files.fails();
        let Some(content) = files.files.get_mut(name) else { return Err(io::ErrorKind::NotFound.into()) };
        if fails {
            content.is_given_up = true;
            return Err(failed());
        }
        if !content.is_given_up {
            content.durable = Some(content.seen.clone());
        }
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut files = self.files();
        if files.fails() {
            return Err(failed());
        }
        let content = files.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        content.seen.resize(len as usize, 0);
        content.durable = Some(content.seen.clone());
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        if files.fails() {
            return Err(failed());
        }
        let whole = Content { seen: bytes.to_vec(), durable: Some(bytes.to_vec()), ..Content::default() };
        files.files.insert(name.to_owned(), whole);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut files = self.files();
        if files.fails() {
            return Err(failed());
        }
        files.files.remove(name);
        Ok(())
    }
}
