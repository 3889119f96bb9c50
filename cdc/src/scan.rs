//! [`Scanner`]: finds where a chunk ends, with the widest vectors this processor has.
//!
//! A vector scanner computes only the low 16 bits of the hash, for 32 or 64 positions at a time, from the affine half
//! of the gear table. The sum over sixteen bytes takes four doublings: with `h1` the table values,
//! `h2[p] = h1[p] + (h1[p-1] << 1)`, `h4[p] = h2[p] + (h2[p-2] << 2)`, and so on to `h16`. About one position in 1024
//! survives the mask's low bits; its whole hash is computed by the reference.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::gear::WINDOW;
use crate::params::ChunkParams;
use crate::scalar;

/// A way to search for cut points. All of them find the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanner(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Supported),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Supported),
}

impl Scanner {
    /// The reference: one byte at a time, on every processor.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// The fastest one this processor can run.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::SCALAR)
    }

    /// All that this processor can run, slowest first.
    pub fn available() -> Vec<Self> {
        let scanners = [
            Some(Kind::Scalar),
            #[cfg(target_arch = "x86_64")]
            avx2::Supported::detect().map(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            avx512::Supported::detect().map(Kind::Avx512),
        ];
        scanners.into_iter().flatten().map(Self).collect()
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512+gfni",
        }
    }

    /// The length of the first chunk of `data`, which must hold the longest chunk or reach to the end of the file.
    ///
    /// Never more than the set's maximum, and all of `data` if no cut comes before its end.
    pub fn cut(self, params: &ChunkParams, data: &[u8]) -> usize {
        if data.len() <= params.min_len() {
            return data.len();
        }
        let end = data.len().min(params.max_len());
        // Positions are tested in pairs: the last byte of an odd length is none.
        let tested = end & !1;
        let centre = params.average_len().min(tested);
        find_lead(params, data, centre, tested)
            .or_else(|| {
                let lead_end = params.min_len() + WINDOW;
                self.find(data, lead_end, centre, params.strict_mask())
                    .or_else(|| self.find(data, lead_end.max(centre), tested, params.relaxed_mask()))
            })
            .unwrap_or(end)
    }

    fn find(self, data: &[u8], from: usize, to: usize, mask: u64) -> Option<usize> {
        match self.0 {
            Kind::Scalar => scalar::find(data, from, to, mask),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(supported) => avx2::find(supported, data, from, to, mask),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(supported) => avx512::find(supported, data, from, to, mask),
        }
    }
}

/// Looks at the first positions past the minimum, where the hash does not yet span its whole window: it starts
/// at the minimum, which keeps the cut points those of the paper.
fn find_lead(params: &ChunkParams, data: &[u8], centre: usize, tested: usize) -> Option<usize> {
    let mut hash = 0;
    (params.min_len()..tested.min(params.min_len() + WINDOW)).find(|&position| {
        hash = scalar::roll(hash, data[position]);
        let mask = if position < centre { params.strict_mask() } else { params.relaxed_mask() };
        hash & mask == 0
    })
}

/// The first of the `survivors` (bit `n` is position `start + n`, of `width`) that meets the whole mask.
///
/// Kept out of line: it runs once in a thousand positions, unless the data is made to provoke it. Then many
/// survive in one block, and rolling through the block once bounds the cost.
#[cfg(target_arch = "x86_64")]
#[cold]
#[inline(never)]
fn confirm(data: &[u8], start: usize, width: usize, survivors: u64, mask: u64) -> Option<usize> {
    if survivors.count_ones() > 2 {
        return scalar::find(data, start, start + width, mask);
    }
    (start..start + width)
        .filter(|position| survivors >> (position - start) & 1 == 1)
        .find(|&position| scalar::hash_at(data, position) & mask == 0)
}

#[cfg(test)]
mod tests;
