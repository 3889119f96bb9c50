//! Packed listings, compressed: what a scan's replies carry.
//!
//! | offset | | |
//! |---|---|---|
//! | 0 | length of the pack, uncompressed | u32, little endian |
//! | 4 | the pack, as `orbit_core::wire::listing` lays it out | zstd frame |

use orbit_core::wire::listing::{ListingError, PACK_BYTES_MAX, Piece, unpack};
use std::io;
use zstd::bulk::{Compressor, Decompressor};

/// The fastest level: the columns do most of the work, and higher levels gained a few per cent for half the speed.
const LEVEL: i32 = 1;

/// Why bytes are no compressed pack.
#[derive(Debug, thiserror::Error)]
pub enum PackFault {
    /// It is too short to be one.
    #[error("a listing is cut off")]
    CutOff,
    /// It claims to be longer than any may be.
    #[error("a listing of {len} bytes is longer than any may be")]
    TooLong {
        /// Bytes.
        len: u32,
    },
    /// It is not as long as it claims.
    #[error("a listing has {got} bytes where {len} were announced")]
    Length {
        /// Bytes announced.
        len: u32,
        /// Bytes there were.
        got: usize,
    },
    /// The compression is damaged.
    #[error("a listing cannot be decompressed")]
    Compression(#[source] io::Error),
    /// What was compressed is no pack.
    #[error(transparent)]
    Listing(#[from] ListingError),
}

/// Compresses packs, with memory that is used again.
pub struct Packer(Compressor<'static>);

impl Packer {
    /// Ready to compress.
    pub fn new() -> io::Result<Self> {
        Compressor::new(LEVEL).map(Self)
    }

    /// A pack with its length before it.
    pub fn compress(&mut self, pack: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = vec![0; 4 + zstd::zstd_safe::compress_bound(pack.len())];
        let len = self.0.compress_to_buffer(pack, &mut out[4..])?;
        out.truncate(4 + len);
        out[..4].copy_from_slice(&(pack.len() as u32).to_le_bytes());
        Ok(out)
    }
}

/// Decompresses packs, with memory that is used again.
pub struct Unpacker {
    zstd: Decompressor<'static>,
    pack: Vec<u8>,
}

impl Unpacker {
    /// Ready to decompress.
    pub fn new() -> io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()?, pack: Vec::new() })
    }

    /// The listings of a compressed pack.
    pub fn unpack(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, PackFault> {
        Ok(unpack(self.decompress(bytes)?)?)
    }

    /// The pack within.
    pub fn decompress(&mut self, bytes: &[u8]) -> Result<&[u8], PackFault> {
        let (len, compressed) = bytes.split_first_chunk().ok_or(PackFault::CutOff)?;
        let len = u32::from_le_bytes(*len);
        if len as usize > PACK_BYTES_MAX {
            return Err(PackFault::TooLong { len });
        }
        self.pack.resize(len as usize, 0);
        let got =
            self.zstd.decompress_to_buffer(compressed, &mut self.pack[..]).map_err(PackFault::Compression)?;
        if got == len as usize { Ok(&self.pack) } else { Err(PackFault::Length { len, got }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_comes_back() {
        let mut packer = Packer::new().expect("memory");
        let mut unpacker = Unpacker::new().expect("memory");
        for len in [0, 1, 1000, 1 << 20, PACK_BYTES_MAX] {
            let pack: Vec<u8> = (0..len).map(|n| ((n * n) >> 8) as u8).collect();
            let packed = packer.compress(&pack).expect("compresses");
            assert_eq!(unpacker.decompress(&packed).expect("reads"), pack);
            assert!(unpacker.decompress(&packed[..packed.len() - 1]).is_err());
        }
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let mut unpacker = Unpacker::new().expect("memory");
        let bomb =
            Packer::new().and_then(|mut packer| packer.compress(&vec![0; 64 << 20])).expect("compresses");
        assert!(matches!(unpacker.decompress(&bomb), Err(PackFault::TooLong { .. })));
        let mut lying = bomb.clone();
        lying[..4].copy_from_slice(&1000_u32.to_le_bytes());
        assert!(matches!(unpacker.decompress(&lying), Err(PackFault::Compression(_))));
        let mut short = Packer::new().and_then(|mut packer| packer.compress(b"abc")).expect("compresses");
        short[0] = 9;
        assert!(matches!(unpacker.decompress(&short), Err(PackFault::Length { len: 9, got: 3 })));
        for bytes in [&b""[..], b"abc", b"\x01\0\0\0", b"\x01\0\0\0not zstd"] {
            assert!(unpacker.decompress(bytes).is_err());
        }
    }
}
