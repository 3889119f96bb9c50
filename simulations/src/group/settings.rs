//! [`Settings`]: what a seed draws before anything happens.

use crate::random::Random;

/// What troubles are common in a seed: one that has a bit of everything misses what needs much of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Climate {
    /// Crashes at any moment, and within steps.
    pub crashes: usize,
    /// Cut, slow and stalled lines.
    pub cuts: usize,
    /// Lost, repeated, late and overtaken messages.
    pub weather: usize,
    /// Failing disks.
    pub disks: usize,
    /// Changes of the voters, hand-overs, clocks.
    pub people: usize,
}

/// One seed's world.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Voters that are wanted: one, three or five.
    pub voters: u8,
    /// Machines that may vote.
    pub hosts: usize,
    /// Stars that obey.
    pub stars: usize,
    /// Clients at a time.
    pub clients: usize,
    /// Most a client waits between operations, milliseconds.
    pub pause_ms: usize,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Entries that are kept behind a snapshot.
    pub entries_kept: u64,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Bytes of entries in one message.
    pub read_max: usize,
    /// How long a node must be silent to be replaced, milliseconds.
    pub stabilise_ms: u64,
    /// For how long there are faults, milliseconds.
    pub faults_ms: u64,
    /// Most time between two faults, milliseconds.
    pub fault_pause_ms: usize,
    /// Which faults.
    pub climate: Climate,
}

impl Settings {
    /// Draws them; `voters` if that is fixed.
    pub fn draw(random: &Random, voters: Option<u8>) -> Self {
        let pick = |from: &[u64]| *random.pick(from).expect("there are some");
        let drawn = pick(&[1, 3, 3, 3, 3, 5, 5]) as u8;
        let voters = voters.unwrap_or(drawn);
        let share = || if random.one_in(3) { 6 } else { random.below(3) };
        Self {
            voters,
            hosts: usize::from(voters) + random.below(3),
            stars: 3,
            clients: 2 + random.below(5),
            pause_ms: pick(&[20, 60, 200]) as usize,
            snapshot_every: pick(&[20, 40, 80, 200]),
            entries_kept: pick(&[0, 0, 10, 50]),
            segment_bytes: pick(&[1 << 10, 4 << 10, 16 << 10, 64 << 10]),
            read_max: pick(&[1, 300, 2_000, 1 << 20]) as usize,
            stabilise_ms: pick(&[3_000, 6_000]),
            faults_ms: 10_000 + random.below(20_000) as u64,
            fault_pause_ms: pick(&[300, 1_000, 3_000]) as usize,
            climate: Climate {
                crashes: 1 + share(),
                cuts: share(),
                weather: share(),
                disks: share() / 2,
                people: 1 + share() / 2,
            },
        }
    }
}
