//! Links over loopback: what goes in comes out, and whatever is done to them on the way is noticed.

use super::handshake::{ANSWER_BYTES, CALL_BYTES, Calling, answer, builder, link_of};
use super::*;
use crate::key::random;
use proptest::prelude::*;
use std::io::{BufRead as _, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

fn terms(cipher: Cipher) -> Terms {
    Terms { link: LinkId::from_bytes(random()), secret: Zeroizing::new(random()), cipher }
}

const BOTH: [Cipher; 2] = [Cipher::AesGcm, Cipher::ChaChaPoly];

/// Two ends that a pair of sockets connects: what the network does to them is the test's to choose.
fn pair(cipher: Cipher) -> (DirectStream, DirectStream) {
    let (near, far) = UnixStream::pair().expect("a pair");
    over(cipher, near, far)
}

fn over(cipher: Cipher, near: UnixStream, far: UnixStream) -> (DirectStream, DirectStream) {
    let terms = terms(cipher);
    let (calling, call) = Calling::begin(&terms);
    let (keys, answered) = answer(&terms, &call).expect("it knows the secret");
    let dialler = DirectStream::over_local(near, calling.finish(&answered).expect("so does this"), cipher);
    (dialler.expect("a stream"), DirectStream::over_local(far, keys, cipher).expect("a stream"))
}

/// Bytes that differ wherever they are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn fault_of(error: &io::Error) -> LinkFault {
    let inner = error.get_ref().expect("it has a cause");
    *inner.downcast_ref::<LinkFault>().unwrap_or_else(|| panic!("{error:?} is no fault of a link"))
}

#[test]
fn what_goes_in_comes_out_both_ways_and_ends() {
    for cipher in BOTH {
        let (near, far) = pair(cipher);
        let sent = pattern(3 * BATCH_BYTES + 12_345);
        let expected = sent.clone();
        let echo = thread::spawn(move || {
            let (mut reader, mut writer) = far.split();
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).expect("all of it");
            writer.write_all(&heard).expect("back");
            writer.finish().expect("done");
        });
        let (mut reader, mut writer) = near.split();
        writer.write_all(&sent).expect("written");
        writer.finish().expect("finished");
        let mut back = Vec::new();
        reader.read_to_end(&mut back).expect("all of it");
        assert!(back == expected, "{cipher}");
        assert_eq!(reader.read(&mut [0; 8]).expect("an end stays one"), 0);
        echo.join().expect("echoes");
    }
}

#[test]
fn nothing_is_held_back_after_a_flush_and_nothing_sent_before() {
    let (mut near, mut far) = pair(Cipher::AesGcm);
    near.write_all(b"a question").expect("written");
    near.flush().expect("flushed");
    assert_eq!(far.fill_buf().expect("it is there"), b"a question");
    far.consume(2);
    assert_eq!(far.fill_buf().expect("the rest"), b"question");
    far.consume(usize::MAX);
    near.flush().expect("nothing to flush");
    far.write_all(b"an answer").expect("written");
    far.flush().expect("flushed");
    let mut heard = [0; 9];
    near.read_exact(&mut heard).expect("read");
    assert_eq!(&heard, b"an answer");
}

#[test]
fn a_message_is_filled_where_it_lies() {
    let (near, mut far) = pair(Cipher::AesGcm);
    let (_, mut writer) = near.split();
    let bytes = pattern(2 * DATA_BYTES_MAX + 5);
    let sent = bytes.clone();
    let writing = thread::spawn(move || {
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let used = writer.fill(|space| {
                assert!((1..=DATA_BYTES_MAX).contains(&space.len()));
                rest.read(space)
            });
            assert!(used.expect("filled") > 0);
        }
        let failed = writer.fill(|_| Err(io::Error::other("the disk failed")));
        assert_eq!(failed.expect_err("it is passed on").to_string(), "the disk failed");
        writer.finish().expect("a source that fails does no harm to the link");
    });
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).expect("all of it");
    assert!(heard == bytes);
    writing.join().expect("writes");
}

#[test]
fn a_stream_that_is_dropped_is_cut() {
    let (near, mut far) = pair(Cipher::AesGcm);
    let (_, mut writer) = near.split();
    writer.write_all(b"half of it").expect("written");
    writer.flush().expect("flushed");
    drop(writer);
    let mut heard = Vec::new();
    let error = far.read_to_end(&mut heard).expect_err("there is no end");
    assert_eq!((heard.as_slice(), fault_of(&error)), (b"half of it".as_slice(), LinkFault::Cut));
    assert_eq!(fault_of(&far.read(&mut [0; 1]).expect_err("still")), LinkFault::Failed);
}

#[test]
fn each_bit_that_is_changed_on_the_way_is_noticed() {
    const SEALED: usize = b"true".len() + 1 + TAG_BYTES;
    for bit in 0..(LEN_BYTES + SEALED) * 8 {
        let terms = terms(Cipher::AesGcm);
        let (calling, call) = Calling::begin(&terms);
        let (keys, answered) = answer(&terms, &call).expect("it knows the secret");
        let mut sealer = calling.finish(&answered).expect("so does this").sealer;
        let mut message = *b"true\0";
        let tag = sealer.seal(&mut message).expect("sealed");
        let mut sent = [&(SEALED as u16).to_be_bytes()[..], &message, &tag].concat();
        sent[bit / 8] ^= 1 << (bit % 8);
        let (mut wire, far) = UnixStream::pair().expect("a pair");
        let mut receiver = DirectStream::over_local(far, keys, Cipher::AesGcm).expect("a stream");
        wire.write_all(&sent).expect("sent");
        wire.shutdown(Shutdown::Write).expect("shut");
        let error = receiver.read(&mut [0; 16]).expect_err("a bit was changed");
        let fault = fault_of(&error);
        // A length that is changed makes the message too short, too long, or not to be opened.
        let is_of_length = bit < 16 && matches!(fault, LinkFault::Cut | LinkFault::NoMessage);
        assert!(fault == LinkFault::Changed || is_of_length, "bit {bit}: {fault}");
    }
}

#[test]
fn messages_that_are_repeated_left_out_or_swapped_are_noticed() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [(&str, Change); 3] = [
        ("repeated", |messages| messages.insert(1, messages[0].clone())),
        ("left out", |messages| drop(messages.remove(0))),
        ("swapped", |messages| messages.swap(0, 1)),
    ];
    for (name, change) in changes {
        let (near, mut tap) = UnixStream::pair().expect("a pair");
        let (mut wire, far) = UnixStream::pair().expect("a pair");
        let (mut sender, mut receiver) = over(Cipher::ChaChaPoly, near, far);
        let mut messages = Vec::new();
        for number in 0..3u8 {
            sender.write_all(&[number; 10]).expect("written");
            sender.flush().expect("flushed");
            let mut message = vec![0; LEN_BYTES + 10 + 1 + TAG_BYTES];
            tap.read_exact(&mut message).expect("sent");
            messages.push(message);
        }
        change(&mut messages);
        for message in &messages {
            wire.write_all(message).expect("passed on");
        }
        drop(wire);
        let error = receiver.read_to_end(&mut Vec::new()).expect_err(name);
        assert_eq!(fault_of(&error), LinkFault::Changed, "{name}");
    }
}

/// Snow speaks the same protocol, `Rekey` included: the other end need not be ours.
#[test]
fn messages_are_those_of_the_noise_protocol() {
    for cipher in BOTH {
        let terms = terms(cipher);
        let (calling, call) = Calling::begin(&terms);
        assert_eq!(link_of(&call), Some(terms.link));
        let mut theirs = builder(&terms).build_responder().expect("a responder");
        theirs.read_message(&call[CALL_BYTES - 48..], &mut []).expect("our first message");
        let mut answered = [0; ANSWER_BYTES];
        theirs.write_message(&[], &mut answered).expect("their answer");
        let mut ours = calling.finish(&answered).expect("their answer");
        let mut theirs = theirs.into_transport_mode().expect("the handshake is over");
        let (mut buffer, mut opened) = ([0; 64], [0; 64]);
        for count in [0, 1, REKEY_AFTER - 1, REKEY_AFTER] {
            if count == REKEY_AFTER {
                theirs.rekey_incoming();
                theirs.rekey_outgoing();
            }
            ours.sealer.skip_to(count);
            ours.opener.skip_to(count);
            theirs.set_receiving_nonce(count);
            let mut sealed = *b"hello, noise";
            let tag = ours.sealer.seal(&mut sealed).expect("sealed");
            let message = [&sealed[..], &tag].concat();
            let len = theirs.read_message(&message, &mut opened).expect("ours is read");
            assert_eq!(&opened[..len], b"hello, noise", "{cipher} {count}");
            if count < 2 {
                let len = theirs.write_message(b"hello, orbit", &mut buffer).expect("written");
                let len = ours.opener.open(&mut buffer[..len]).expect("theirs is read");
                assert_eq!(&buffer[..len], b"hello, orbit", "{cipher} {count}");
            }
        }
    }
}

#[test]
fn keys_change_on_both_sides_at_the_same_message() {
    let (near, far) = pair(Cipher::AesGcm);
    let ((mut reader, _w), (_r, mut writer)) = (near.split(), far.split());
    writer.skip_to(REKEY_AFTER - 3);
    reader.skip_to(REKEY_AFTER - 3);
    for number in 0..6u8 {
        writer.write_all(&[number]).expect("written");
        writer.flush().expect("flushed");
        assert_eq!(reader.fill_buf().expect("read"), [number]);
        reader.consume(1);
    }
    writer.skip_to(u64::MAX);
    writer.write_all(&[1]).expect("it waits");
    assert_eq!(fault_of(&writer.flush().expect_err("no nonce is left")), LinkFault::Worn);
}

#[test]
fn whoever_waits_can_be_told_from_another_thread() {
    let (mut near, far) = pair(Cipher::AesGcm);
    let breaker = near.breaker();
    let waiting = thread::spawn(move || near.read(&mut [0; 1]).expect_err("nothing comes"));
    breaker.break_off();
    assert_eq!(fault_of(&waiting.join().expect("ends")), LinkFault::Cut);
    drop(far);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn limits() -> DirectLimits {
    DirectLimits { handshake: Duration::from_millis(300), ..DirectLimits::default() }
}

/// A listener that serves until the runtime ends.
fn listening(limits: DirectLimits) -> (DirectListener, tokio::runtime::Runtime) {
    let runtime = runtime();
    let addresses = ["127.0.0.1:0".parse().expect("an address"), "[::1]:0".parse().expect("an address")];
    let listener = DirectListener::bind(&addresses, limits).expect("listens");
    let served = listener.clone();
    runtime.spawn(async move { served.serve().await });
    (listener, runtime)
}

/// Waits for a count, for a while.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_link_that_is_expected_is_opened_once_over_each_family() {
    let (listener, runtime) = listening(limits());
    let [v4, v6] = listener.addresses() else { panic!("two addresses") };
    assert_eq!(v4.port(), v6.port());
    for address in [*v4, *v6] {
        let terms = terms(Cipher::AesGcm);
        let mut expected = listener.expect(terms.clone()).expect("there is room");
        let mut near = runtime.block_on(dial(&[address], &terms)).expect("it is expected");
        let mut far = runtime.block_on(expected.arrive()).expect("it has arrived");
        near.write_all(b"over tcp").expect("written");
        near.flush().expect("flushed");
        assert_eq!(far.fill_buf().expect("read"), b"over tcp");
        assert_eq!(near.end(), End::Tcp(address));
        let again = runtime.block_on(dial(&[address], &terms)).expect_err("it is good for one");
        assert_eq!(again.0.len(), 1);
    }
    assert_eq!(
        listener.counters(),
        DirectCounters { established: 2, unknown: 2, ..DirectCounters::default() }
    );
}

#[test]
fn the_first_address_that_answers_is_taken() {
    let (listener, runtime) = listening(limits());
    let good = listener.addresses()[0];
    // A port that nobody listens on, one that accepts and says nothing, one that says something else.
    let closed = TcpListener::bind("127.0.0.1:0").expect("listens").local_addr().expect("an address");
    let silent = TcpListener::bind("127.0.0.1:0").expect("listens");
    let other = TcpListener::bind("127.0.0.1:0").expect("listens");
    let other_address = other.local_addr().expect("an address");
    let saying = thread::spawn(move || {
        let (mut stream, _) = other.accept().expect("accepts");
        let mut call = [0; CALL_BYTES];
        stream.read_exact(&mut call).expect("hears");
        stream.write_all(&[b'x'; ANSWER_BYTES]).expect("says");
    });
    let addresses = [closed, other_address, silent.local_addr().expect("an address"), good];
    let terms = terms(Cipher::ChaChaPoly);
    let mut expected = listener.expect(terms.clone()).expect("there is room");
    let begun = Instant::now();
    let near = runtime.block_on(dial(&addresses, &terms)).expect("the last one answers");
    assert_eq!(near.end(), End::Tcp(good));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    runtime.block_on(expected.arrive()).expect("it has arrived");
    saying.join().expect("says");
    let none = runtime.block_on(dial(&[closed], &terms)).expect_err("nobody is there");
    assert!(none.to_string().contains(&closed.to_string()), "{none}");
    let nowhere = runtime.block_on(dial(&[], &terms)).expect_err("no address");
    assert_eq!(nowhere.to_string(), "no address for direct links answered: none is known");
}

#[test]
fn whoever_does_not_know_the_secret_is_closed_and_takes_nothing_away() {
    let (listener, runtime) = listening(limits());
    let address = listener.addresses()[0];
    let terms = terms(Cipher::AesGcm);
    let mut expected = listener.expect(terms.clone()).expect("there is room");
    let wrong = Terms { secret: Zeroizing::new([7; 32]), ..terms.clone() };
    runtime.block_on(dial(&[address], &wrong)).expect_err("another secret");
    let other = Terms { link: LinkId::from_bytes([9; 16]), ..terms.clone() };
    runtime.block_on(dial(&[address], &other)).expect_err("another id");
    let mut noise = TcpStream::connect(address).expect("connects");
    noise.write_all(&[0; CALL_BYTES]).expect("says");
    assert_eq!(noise.read(&mut [0; 1]).expect("is closed"), 0);
    wait_for("all are counted", || {
        let counted = listener.counters();
        (counted.unproven, counted.unknown) == (2, 1)
    });
    let _near = runtime.block_on(dial(&[address], &terms)).expect("it still counts");
    runtime.block_on(expected.arrive()).expect("it has arrived");
}

#[test]
fn a_link_is_not_expected_any_more_when_nobody_waits() {
    let (listener, runtime) = listening(DirectLimits { expected: 1, ..limits() });
    let terms = terms(Cipher::AesGcm);
    let expected = listener.expect(terms.clone()).expect("there is room");
    assert_eq!(listener.expect(self::terms(Cipher::AesGcm)).err(), Some(Crowded));
    drop(expected);
    runtime.block_on(dial(&listener.addresses()[..1], &terms)).expect_err("nobody waits");
    let short = DirectLimits { expected_time: Duration::from_millis(10), ..limits() };
    let (listener, runtime) = listening(short);
    let mut expected = listener.expect(terms).expect("there is room");
    assert!(runtime.block_on(expected.arrive()).is_none(), "nobody comes");
}

#[test]
fn slow_strangers_keep_nobody_out() {
    let (listener, runtime) = listening(DirectLimits { strangers: 8, ..limits() });
    let address: SocketAddr = listener.addresses()[0];
    // Some say nothing, some say all but the last byte.
    let strangers: Vec<TcpStream> = (0..64)
        .map(|number| {
            let mut stream = TcpStream::connect(address).expect("connects");
            stream.write_all(&[0; CALL_BYTES - 1][..(number % 2) * (CALL_BYTES - 1)]).expect("says");
            stream
        })
        .collect();
    let terms = terms(Cipher::AesGcm);
    let mut expected = listener.expect(terms.clone()).expect("there is room");
    let begun = Instant::now();
    let _near = runtime.block_on(dial(&[address], &terms)).expect("it is let in");
    runtime.block_on(expected.arrive()).expect("it has arrived");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    wait_for("all strangers are gone", || {
        let counted = listener.counters();
        counted.slow + counted.crowded == 64
    });
    for mut stream in strangers {
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    assert!(listener.counters().crowded >= 56);
}

#[test]
fn a_link_goes_over_any_stream_that_leads_there() {
    let (listener, _runtime) = listening(limits());
    let terms = terms(Cipher::ChaChaPoly);
    let expected = listener.expect(terms.clone()).expect("there is room");
    let (near, far) = UnixStream::pair().expect("a pair");
    let accepting = thread::spawn(move || expected.over(far).expect("it proves itself"));
    let mut near = DirectStream::dial_over(near, &terms).expect("so does the other side");
    let mut far = accepting.join().expect("accepts");
    assert_eq!((near.end(), far.end()), (End::Mesh, End::Mesh));
    far.write_all(b"carried").expect("written");
    far.flush().expect("flushed");
    assert_eq!(near.fill_buf().expect("read"), b"carried");
}

#[test]
fn bytes_are_counted_as_the_network_sees_them() {
    let (mut near, mut far) = pair(Cipher::AesGcm);
    let traffic = std::sync::Arc::new(Traffic::default());
    near.count_in(&traffic);
    near.write_all(&[1; 100]).expect("written");
    near.flush().expect("flushed");
    far.read_exact(&mut [0; 100]).expect("read");
    far.write_all(&[1; 10]).expect("written");
    far.flush().expect("flushed");
    near.read_exact(&mut [0; 10]).expect("read");
    assert_eq!((traffic.sent(), traffic.received()), (119, 29));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However it is cut into writes, flushes and pieces on the wire.
    #[test]
    fn any_pieces_make_the_same_stream(
        pieces in proptest::collection::vec((0..200_000usize, any::<bool>()), 1..8),
        wire in 1..70_000usize,
    ) {
        let (near, mut tap) = UnixStream::pair().expect("a pair");
        let (mut onward, far) = UnixStream::pair().expect("a pair");
        let (sender, mut receiver) = over(Cipher::AesGcm, near, far);
        let bytes = pattern(pieces.iter().map(|(len, _)| len).sum());
        let sent = bytes.clone();
        let writing = thread::spawn(move || {
            let (_reader, mut writer) = sender.split();
            let mut rest = &sent[..];
            for (len, flush) in pieces {
                let (piece, later) = rest.split_at(len);
                writer.write_all(piece).expect("written");
                if flush {
                    writer.flush().expect("flushed");
                }
                rest = later;
            }
            writer.finish().expect("finished");
        });
        let carrying = thread::spawn(move || {
            let mut buffer = vec![0; wire];
            loop {
                let read = tap.read(&mut buffer).expect("read");
                if read == 0 {
                    return;
                }
                onward.write_all(&buffer[..read]).expect("passed on");
            }
        });
        let mut heard = Vec::new();
        receiver.read_to_end(&mut heard).expect("all of it");
        prop_assert!(heard == bytes);
        writing.join().expect("writes");
        carrying.join().expect("carries");
    }

    #[test]
    fn any_bytes_are_no_message(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (mut wire, far) = UnixStream::pair().expect("a pair");
        let (unused, _other) = UnixStream::pair().expect("a pair");
        let (_sender, mut receiver) = over(Cipher::AesGcm, unused, far);
        wire.write_all(&bytes).expect("sent");
        drop(wire);
        prop_assert!(receiver.read(&mut [0; 16]).is_err());
    }
}
