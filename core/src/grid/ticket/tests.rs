use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000_000;

fn ticket() -> Ticket {
    Ticket {
        grid: GridId::from_bytes([1; 16]),
        fence: Fence { epoch: 1, term: 7 },
        job: JobId::from_bytes([2; 16]),
        source: NodeId::from_bytes([3; 16]),
        source_key: PeerKey::from_bytes([4; 32]),
        source_addresses: Vec::new(),
        destination: NodeId::from_bytes([5; 16]),
        root: b"/data".to_vec(),
        verb: Verb::Read,
        nonce: [6; 16],
        issued_ms: NOW,
        expires_ms: NOW + TICKET_LIFETIME_MS,
    }
}

fn presented() -> Presented {
    let ticket = ticket();
    Presented {
        grid: ticket.grid,
        source: ticket.source,
        destination: ticket.destination,
        fence: ticket.fence,
        now_ms: NOW + 1_000,
    }
}

#[test]
fn a_good_one_is_accepted_also_by_one_who_is_behind() {
    assert_eq!(ticket().judge(&presented()), Ok(()));
    let behind = Presented { fence: Fence { epoch: 1, term: 6 }, ..presented() };
    assert_eq!(ticket().judge(&behind), Ok(()));
    for now_ms in [NOW - CLOCK_TOLERANCE_MS, NOW + TICKET_LIFETIME_MS + CLOCK_TOLERANCE_MS] {
        assert_eq!(ticket().judge(&Presented { now_ms, ..presented() }), Ok(()));
    }
}

#[test]
fn each_thing_that_does_not_fit_is_told() {
    let good = presented();
    let ours = Fence { epoch: 1, term: 8 };
    let refusals = [
        (Presented { grid: GridId::from_bytes([9; 16]), ..good }, TicketFault::OtherGrid),
        (Presented { source: NodeId::from_bytes([9; 16]), ..good }, TicketFault::OtherSource),
        (Presented { destination: NodeId::from_bytes([9; 16]), ..good }, TicketFault::OtherDestination),
        (Presented { fence: ours, ..good }, TicketFault::OldTerm { theirs: ticket().fence, ours }),
        (
            Presented { now_ms: NOW - CLOCK_TOLERANCE_MS - 1, ..good },
            TicketFault::NotYet { in_ms: CLOCK_TOLERANCE_MS + 1 },
        ),
        (
            Presented { now_ms: NOW + TICKET_LIFETIME_MS + CLOCK_TOLERANCE_MS + 1, ..good },
            TicketFault::Expired { ago_ms: CLOCK_TOLERANCE_MS + 1 },
        ),
    ];
    for (presented, fault) in refusals {
        assert_eq!(ticket().judge(&presented), Err(fault), "{fault}");
    }
    let long = Ticket { expires_ms: NOW + TICKET_LIFETIME_MS + 1, ..ticket() };
    assert_eq!(long.judge(&good), Err(TicketFault::TooLong));
    for root in [b"".to_vec(), b"data".to_vec(), vec![b'/'; TICKET_PATH_BYTES_MAX + 1]] {
        assert_eq!(Ticket { root, ..ticket() }.judge(&good), Err(TicketFault::Path));
    }
}

#[test]
fn each_counts_once() {
    let mut seen = Seen::default();
    assert_eq!(seen.admit(&ticket(), NOW), Ok(Ok(())));
    let last = NOW + TICKET_LIFETIME_MS + CLOCK_TOLERANCE_MS;
    for now_ms in [NOW, NOW + 1_000, last] {
        assert_eq!(seen.admit(&ticket(), now_ms), Ok(Err(TicketFault::Used)), "{now_ms}");
    }
    assert_eq!(seen.admit(&Ticket { nonce: [7; 16], ..ticket() }, NOW), Ok(Ok(())));
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let mut seen = Seen::default();
    for number in 0..SEEN_MAX as u128 {
        let one = Ticket { nonce: number.to_le_bytes(), ..ticket() };
        assert_eq!(seen.admit(&one, NOW), Ok(Ok(())));
    }
    let one_more = Ticket { nonce: [0xff; 16], ..ticket() };
    assert_eq!(seen.admit(&one_more, NOW), Err(Crowded));
    // When they are over, there is room again.
    let later = ticket().expires_ms + CLOCK_TOLERANCE_MS + 1;
    let fresh = Ticket { issued_ms: later, expires_ms: later + 1, ..one_more };
    assert_eq!(seen.admit(&fresh, later), Ok(Ok(())));
}

proptest! {
    /// Whatever the clock does between them, one that is accepted by its time is not accepted twice.
    #[test]
    fn one_that_is_still_valid_is_remembered(first in 0..90_000i64, second in 0..90_000i64, others: Vec<[u8; 16]>) {
        let mut seen = Seen::default();
        let ticket = Ticket { nonce: [0xee; 16], ..ticket() };
        let (first, second) = (NOW + first.min(second), NOW + second.max(first));
        prop_assert_eq!(seen.admit(&ticket, first), Ok(Ok(())));
        for nonce in others {
            let _ = seen.admit(&Ticket { nonce, ..ticket.clone() }, first);
        }
        let judged = ticket.judge(&Presented { now_ms: second, ..presented() });
        prop_assert_eq!(judged, Ok(()));
        prop_assert_eq!(seen.admit(&ticket, second), Ok(Err(TicketFault::Used)));
    }

    #[test]
    fn any_time_is_judged(now_ms: i64, issued_ms: i64, expires_ms: i64) {
        let _ = Ticket { issued_ms, expires_ms, ..ticket() }.judge(&Presented { now_ms, ..presented() });
        let _ = Seen::default().admit(&Ticket { issued_ms, expires_ms, ..ticket() }, now_ms);
    }
}
