//! A column: as many numbers as there are entries (or directories), in the shape that is shortest. A column of none has
//! no bytes.
//!
//! | byte 0 | shape | then |
//! |---|---|---|
//! | 0 | runs of equal numbers | varint: runs; each: zigzag of the difference to the run before (first: to 0) as varint, its length (varint, ≥ 1) |
//! | 1 | distances to the smallest | varint: the smallest; planes |
//! | 2 | zigzag of the difference to the one before (first: to 0) | planes |
//!
//! Planes: their number (u8, at most 8), then the lowest byte of every number, the second lowest of every number, and so
//! on. Each plane: u8, how it is written:
//!
//! | | |
//! |---|---|
//! | 0 | all zero: nothing |
//! | 1 | all bytes |
//! | 2 | few are not zero: varint, how many; each: varint, how many zeros lie before it; the byte |
//!
//! Bytes of like meaning lie together so: the upper ones hardly change and compress to nothing, the lower ones are
//! random and cost no time.

use super::varint::{self, fold, unfold};

const RUNS: u8 = 0;
const DISTANCES: u8 = 1;
const DIFFERENCES: u8 = 2;

const ZERO: u8 = 0;
const DENSE: u8 = 1;
const SPARSE: u8 = 2;

const PLANES_MAX: usize = 8;
/// Bytes a run takes, about, and a byte of a sparse plane.
const RUN_COST: usize = 3;
const SPARSE_COST: usize = 3;

/// Writes columns, with memory that is used again.
#[derive(Debug, Default)]
pub(super) struct ColumnWriter {
    differences: Vec<u64>,
    distances: Vec<u64>,
}

/// How many bytes of each plane are not zero.
type Census = [usize; PLANES_MAX];

impl ColumnWriter {
    /// Appends a column in its shortest shape.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, values: &[u64]) {
        if let Some(shape) = self.choose(values) {
            self.put_as(out, values, &shape);
        }
    }

    /// About how many bytes a column takes before compression.
    pub(super) fn cost(&mut self, values: &[u64]) -> usize {
        self.choose(values).map_or(0, |shape| shape.cost)
    }

    fn choose(&mut self, values: &[u64]) -> Option<Shape> {
        let (&first, len) = (values.first()?, values.len());
        let runs = 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let cost = runs * RUN_COST;
        if cost * 4 <= len {
            return Some(Shape { kind: RUNS, cost, census: Census::default(), smallest: 0 });
        }
        let smallest = values.iter().fold(first, |least, value| least.min(*value));
        self.distances.clear();
        self.distances.extend(values.iter().map(|value| value - smallest));
        self.differences.clear();
        self.differences.push(difference(first, 0));
        self.differences.extend(values.windows(2).map(|pair| difference(pair[1], pair[0])));
        let planes = |kind, numbers: &[u64]| {
            let census = census(numbers);
            let cost = census.iter().map(|count| len.min(count * SPARSE_COST)).sum();
            Shape { kind, cost, census, smallest }
        };
        // As long as each other: distances, which are less mixed.
        let shapes = [
            planes(DISTANCES, &self.distances),
            planes(DIFFERENCES, &self.differences),
            Shape { kind: RUNS, cost, census: Census::default(), smallest },
        ];
        shapes.into_iter().min_by_key(|shape| shape.cost)
    }

    fn put_as(&self, out: &mut Vec<u8>, values: &[u64], shape: &Shape) {
        out.push(shape.kind);
        match shape.kind {
            RUNS => put_runs(out, values),
            DISTANCES => {
                varint::put(out, shape.smallest);
                put_planes(out, &self.distances, &shape.census);
            }
            _ => put_planes(out, &self.differences, &shape.census),
        }
    }
}

/// How a column is written.
struct Shape {
    kind: u8,
    cost: usize,
    census: Census,
    smallest: u64,
}

fn difference(value: u64, before: u64) -> u64 {
    fold(value.wrapping_sub(before) as i64)
}

fn census(numbers: &[u64]) -> Census {
    let all = numbers.iter().fold(0, |all, number| all | number);
    std::array::from_fn(|plane| {
        let mask = 0xff << (8 * plane);
        // Most planes are all zero: one look instead of one a number.
        if all & mask == 0 { 0 } else { numbers.iter().filter(|number| **number & mask != 0).count() }
    })
}

fn put_runs(out: &mut Vec<u8>, values: &[u64]) {
    let runs = values.chunk_by(|a, b| a == b);
    varint::put(out, runs.clone().count() as u64);
    let mut before = 0;
    for run in runs {
        varint::put(out, difference(run[0], before));
        varint::put(out, run.len() as u64);
        before = run[0];
    }
}

fn put_planes(out: &mut Vec<u8>, numbers: &[u64], census: &Census) {
    let planes = census.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    out.push(planes as u8);
    for (plane, &count) in census.iter().enumerate().take(planes) {
        let byte = |number: &u64| (number >> (8 * plane)) as u8;
        if count == 0 {
            out.push(ZERO);
        } else if count * SPARSE_COST >= numbers.len() {
            out.push(DENSE);
            out.extend(numbers.iter().map(byte));
        } else {
            out.push(SPARSE);
            varint::put(out, count as u64);
            let mut zeros = 0;
            for number in numbers {
                match byte(number) {
                    0 => zeros += 1,
                    byte => {
                        varint::put(out, zeros);
                        out.push(byte);
                        zeros = 0;
                    }
                }
            }
        }
    }
}

/// Reads a column of `len` numbers into `values`; none if it is no column. `len` is bounded by the caller.
pub(super) fn take(rest: &mut &[u8], len: usize, values: &mut Vec<u64>) -> Option<()> {
    values.clear();
    if len == 0 {
        return Some(());
    }
    match *rest.split_off_first()? {
        RUNS => take_runs(rest, len, values),
        DISTANCES => {
            let smallest = varint::take(rest)?;
            take_planes(rest, len, values)?;
            for value in values {
                *value = value.wrapping_add(smallest);
            }
            Some(())
        }
        DIFFERENCES => {
            take_planes(rest, len, values)?;
            let mut before = 0_u64;
            for value in values {
                before = before.wrapping_add(unfold(*value) as u64);
                *value = before;
            }
            Some(())
        }
        _ => None,
    }
}

fn take_runs(rest: &mut &[u8], len: usize, values: &mut Vec<u64>) -> Option<()> {
    let mut before = 0_u64;
    for _ in 0..varint::take(rest)? {
        before = before.wrapping_add(unfold(varint::take(rest)?) as u64);
        let run = usize::try_from(varint::take(rest)?).ok()?;
        if run == 0 || run > len - values.len() {
            return None;
        }
        values.resize(values.len() + run, before);
    }
    (values.len() == len).then_some(())
}

fn take_planes(rest: &mut &[u8], len: usize, values: &mut Vec<u64>) -> Option<()> {
    values.resize(len, 0);
    let planes = usize::from(*rest.split_off_first()?);
    if planes > PLANES_MAX {
        return None;
    }
    for shift in (0..planes).map(|plane| 8 * plane) {
        match *rest.split_off_first()? {
            ZERO => {}
            DENSE => {
                let bytes = rest.split_off(..len)?;
                for (value, byte) in values.iter_mut().zip(bytes) {
                    *value |= u64::from(*byte) << shift;
                }
            }
            SPARSE => {
                let mut left = values.iter_mut();
                for _ in 0..varint::take(rest)? {
                    let zeros = usize::try_from(varint::take(rest)?).ok()?;
                    *left.nth(zeros)? |= u64::from(*rest.split_off_first()?) << shift;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(values: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        ColumnWriter::default().put(&mut out, values);
        out
    }

    fn read(bytes: &[u8], len: usize) -> Option<Vec<u64>> {
        let (mut rest, mut values) = (bytes, Vec::new());
        take(&mut rest, len, &mut values)?;
        rest.is_empty().then_some(values)
    }

    #[test]
    fn each_shape_is_used_where_it_is_short() {
        for (kind, len, values) in [
            (RUNS, 5, vec![7; 1000]),
            (DISTANCES, 1006, (0..1000).map(|n| 1_000_000 + n * 77 % 256).collect::<Vec<_>>()),
            (DIFFERENCES, 1011, (0..1000).map(|n| 5_000_000 + n * 3).collect()),
            (DIFFERENCES, 1012, (0..1000).map(|n| if n < 500 { n } else { n + (1 << 40) }).collect()),
        ] {
            let bytes = written(&values);
            assert_eq!((bytes[0], bytes.len()), (kind, len), "{:?}", &values[..5]);
            assert_eq!(read(&bytes, values.len()), Some(values));
        }
        assert!(written(&[]).is_empty());
        assert_eq!(read(&[], 0), Some(Vec::new()));
    }

    fn columns() -> impl Strategy<Value = Vec<u64>> {
        let number =
            prop_oneof![any::<u64>(), 0..300_u64, Just(0), Just(u64::MAX), 1 << 40..(1 << 40) + 9_u64];
        prop_oneof![
            prop::collection::vec(number.clone(), 0..200),
            (number, 0..300_usize).prop_map(|(number, len)| vec![number; len]),
            (any::<u64>(), prop::collection::vec(0..5_u64, 0..300)).prop_map(|(start, steps)| {
                steps
                    .iter()
                    .scan(start, |at, step| {
                        *at = at.wrapping_add(*step);
                        Some(*at)
                    })
                    .collect()
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_column_comes_back(values in columns()) {
            let bytes = written(&values);
            prop_assert_eq!(read(&bytes, values.len()), Some(values.clone()));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..cut], values.len()), None);
            }
        }

        #[test]
        fn any_bytes_are_judged(kind in 0..4_u8, bytes: Vec<u8>, len in 0..300_usize) {
            let column: Vec<u8> = std::iter::once(kind).chain(bytes).collect();
            if let Some(values) = read(&column, len) {
                prop_assert_eq!(values.len(), len);
            }
        }
    }
}
