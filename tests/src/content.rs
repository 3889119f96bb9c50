//! [`Content`]: what a regular file holds, in 24 bytes.

use rustix::fs::SeekFrom;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Length and fingerprint of a file. Blocks of zeros do not count, so holes and written zeros are the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Length in bytes.
    pub len: u64,
    /// 128 bits; not meant against an adversary.
    pub fingerprint: [u64; 2],
}

/// Contents already known: any write to an inode moves its change time, so an unchanged identity is an unchanged file.
#[derive(Debug, Default)]
pub struct KnownContents(HashMap<[i128; 5], Content>);

impl KnownContents {
    /// The content of the file at `path`.
    pub fn of(&mut self, path: &Path, metadata: &fs::Metadata) -> Content {
        let time = |seconds: i64, nanos: i64| i128::from(seconds) << 32 | i128::from(nanos);
        let identity = [
            i128::from(metadata.dev()),
            i128::from(metadata.ino()),
            i128::from(metadata.len()),
            time(metadata.mtime(), metadata.mtime_nsec()),
            time(metadata.ctime(), metadata.ctime_nsec()),
        ];
        *self.0.entry(identity).or_insert_with(|| Content::read(path, metadata.len()))
    }
}

const BLOCK: usize = 4096;
const BUFFER: usize = 64 * BLOCK;

impl Content {
    /// Reads the data of the file at `path`, leaving out its holes.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read(path: &Path, len: u64) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
        let mut fingerprint = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344 ^ len];
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        while at < len {
            let Some(data) = next_data(&file, at) else { break };
            at = data / BLOCK as u64 * BLOCK as u64;
            let got = read_full(&file, &mut buffer, at);
            if got == 0 {
                break;
            }
            for (index, block) in buffer[..got].chunks(BLOCK).enumerate() {
                mix_block(&mut fingerprint, at + (index * BLOCK) as u64, block);
            }
            at += got as u64;
        }
        Self { len, fingerprint }
    }
}

/// Where the next data begin; a file system that cannot tell has data everywhere.
fn next_data(file: &File, at: u64) -> Option<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => Some(data),
        Err(rustix::io::Errno::NXIO) => None,
        Err(_) => Some(at),
    }
}

fn read_full(file: &File, buffer: &mut [u8], at: u64) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) => panic!("read at {at}: {error}"),
        }
    }
    got
}

fn mix_block(fingerprint: &mut [u64; 2], offset: u64, block: &[u8]) {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let mut any = 0;
    let mut lanes = [offset ^ 0xa409_3822_299f_31d0, !offset];
    for pair in block.chunks(16) {
        let (a, b) = (word(&pair[..pair.len().min(8)]), word(pair.get(8..).unwrap_or_default()));
        any |= a | b;
        lanes[0] = (lanes[0] ^ a).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        lanes[1] = (lanes[1] ^ b).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
    }
    if any != 0 {
        let folded = lanes[0] ^ lanes[1].rotate_left(17);
        fingerprint[0] = fingerprint[0].wrapping_add(folded.wrapping_mul(0xbf58_476d_1ce4_e5b9));
        fingerprint[1] = (fingerprint[1] ^ folded).wrapping_mul(0x94d0_49bb_1331_11eb).rotate_left(23);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_of(write: impl FnOnce(&File)) -> Content {
        let file = tempfile::NamedTempFile::new().expect("makes a file");
        write(file.as_file());
        Content::read(file.path(), file.as_file().metadata().expect("is there").len())
    }

    #[test]
    fn a_hole_is_the_same_as_zeros_and_one_bit_is_not() {
        let hole = content_of(|file| {
            file.write_all_at(b"end", 9_000_000).expect("writes");
        });
        let zeros = content_of(|file| {
            file.write_all_at(&vec![0; 9_000_000], 0).expect("writes");
            file.write_all_at(b"end", 9_000_000).expect("writes");
        });
        let bit = content_of(|file| {
            file.write_all_at(b"end", 9_000_000).expect("writes");
            file.write_all_at(&[1], 4_500_000).expect("writes");
        });
        assert_eq!(hole, zeros);
        assert_ne!(hole, bit);
    }
}
