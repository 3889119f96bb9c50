//! How many voters a grid has. One, three or five, never two or four: an even number survives no more failures than
//! the odd number below it, and has one more member that can fail.

/// The most voters a grid has: with five, two may fail at once; more only make every write slower.
pub const VOTERS_MAX: u8 = 5;

/// Voters of a grid with this many eligible nodes: 1, 3 or 5. The second and the fourth node stay learners.
pub const fn voters_for(eligible: usize) -> u8 {
    match eligible {
        0..=2 => 1,
        3 | 4 => 3,
        _ => VOTERS_MAX,
    }
}

/// Votes that decide among `voters`.
pub const fn quorum(voters: u8) -> u8 {
    voters / 2 + 1
}

/// How many of `voters` may fail while the rest still decide.
pub const fn tolerates(voters: u8) -> u8 {
    voters.saturating_sub(quorum(voters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_one_three_or_five() {
        let voters: Vec<u8> = (0..8).map(voters_for).collect();
        assert_eq!(voters, [1, 1, 1, 3, 3, 5, 5, 5]);
    }

    #[test]
    fn an_even_voter_adds_nothing() {
        let survives: Vec<u8> = (0..=5).map(tolerates).collect();
        assert_eq!(survives, [0, 0, 0, 1, 1, 2]);
    }

    #[test]
    fn two_quorums_always_meet() {
        for voters in 1..=u8::MAX {
            assert!(u16::from(quorum(voters)) * 2 > u16::from(voters), "{voters}");
            assert!(quorum(voters) + tolerates(voters) == voters, "{voters}");
        }
    }
}
