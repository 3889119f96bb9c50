//! Direct links whose cable is pulled: both ends learn of it in time, and only then.

use orbit_core::ids::LinkId;
use orbit_mesh::Cipher;
use orbit_mesh::direct::{DirectLimits, DirectListener, DirectStream, LinkFault, SILENCE_MAX, Terms, dial};
use std::io::{self, BufRead, Read, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// By when whoever waits must know.
const KNOWN_AFTER: Duration = Duration::from_secs(15);
/// Set in the process that has a network of its own.
const INSIDE: &str = "ORBIT_TEST_OWN_NETWORK";

#[test]
fn a_cable_that_is_pulled_is_noticed_in_time_and_slowness_is_not_taken_for_it() {
    if std::env::var_os(INSIDE).is_some() {
        return pull_cables();
    }
    let has =
        |program| Command::new(program).arg("--version").output().is_ok_and(|said| said.status.success());
    if !rustix::process::geteuid().is_root() || !has("unshare") || !has("iptables") {
        say("SKIPPED: pulling a cable needs root, unshare and iptables");
        return;
    }
    let name = "cable::a_cable_that_is_pulled_is_noticed_in_time_and_slowness_is_not_taken_for_it";
    let inside = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(inside.expect("starts").success());
}

fn say(line: &str) {
    // A log that cannot be written is no reason to fail.
    drop(writeln!(io::stderr().lock(), "{line}"));
}

fn run(words: &str) {
    let mut words = words.split(' ');
    let status = Command::new(words.next().expect("a program")).args(words).status();
    assert!(status.expect("starts").success());
}

/// Two ends, and the port between them.
fn link(runtime: &Runtime) -> (DirectStream, DirectStream, u16) {
    let any = "127.0.0.1:0".parse().expect("an address");
    let listener = DirectListener::bind(&[any], DirectLimits::default()).expect("listens");
    let terms = Terms {
        link: LinkId::from_bytes([1; 16]),
        secret: Zeroizing::new([2; 32]),
        cipher: Cipher::ChaChaPoly,
    };
    let mut expected = listener.expect(terms.clone()).expect("there is room");
    let served = listener.clone();
    runtime.spawn(async move { served.serve().await });
    let near = runtime.block_on(dial(listener.addresses(), &terms)).expect("connects");
    let far = runtime.block_on(expected.arrive()).expect("arrives");
    (near, far, listener.addresses()[0].port())
}

/// Has `wait` wait on a thread of its own for what does not come any more; when, and by which fault it ended.
fn waiting(
    mut wait: impl FnMut() -> io::Result<()> + Send + 'static,
) -> thread::JoinHandle<(Instant, Option<LinkFault>, io::ErrorKind)> {
    thread::spawn(move || {
        loop {
            if let Err(error) = wait() {
                let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<LinkFault>());
                return (Instant::now(), fault.copied(), error.kind());
            }
        }
    })
}

fn pull_cables() {
    run("ip link set lo up");
    let runtime = Runtime::new().expect("a runtime");
    // One side has asked and waits for an answer, the other waits for a question: nothing is on its way.
    let (mut idle_near, mut idle_far, idle) = link(&runtime);
    // One side sends as much as it can, the other takes it.
    let (mut bulk_near, mut bulk_far, bulk) = link(&runtime);
    // One side asks in the very moment.
    let (mut asking_near, mut asking_far, asking) = link(&runtime);
    // One side sends, the other takes nothing for longer than a dead one is waited for.
    let (mut slow_near, mut slow_far, _) = link(&runtime);
    let slow = thread::spawn(move || {
        let sent = vec![7; 32 << 20];
        slow_near.write_all(&sent).expect("it is waited for");
        slow_near.flush().expect("it is waited for");
    });
    let bulk = (
        bulk,
        waiting(move || bulk_near.write_all(&[1; 10_000])),
        waiting(move || {
            let len = bulk_far.fill_buf()?.len();
            bulk_far.consume(len);
            Ok(())
        }),
    );
    thread::sleep(Duration::from_secs(1));
    for port in [idle, bulk.0, asking] {
        run(&format!("iptables -A INPUT -p tcp --dport {port} -j DROP"));
        run(&format!("iptables -A INPUT -p tcp --sport {port} -j DROP"));
    }
    let pulled = Instant::now();
    asking_near.write_all(b"are you there?").and_then(|()| asking_near.flush()).expect("it is on its way");
    let ends = [
        ("waits for an answer", waiting(move || idle_near.read(&mut [0; 1]).map(drop))),
        ("waits for a question", waiting(move || idle_far.read(&mut [0; 1]).map(drop))),
        ("sends", bulk.1),
        ("receives", bulk.2),
        ("has asked", waiting(move || asking_near.read(&mut [0; 1]).map(drop))),
        ("was asked", waiting(move || asking_far.read(&mut [0; 1]).map(drop))),
    ];
    for (what, end) in ends {
        let (known, fault, kind) = end.join().expect("no panic");
        let after = known.duration_since(pulled);
        say(&format!("whoever {what} knows after {:.1} s", after.as_secs_f64()));
        assert!(after < KNOWN_AFTER, "{what}: {after:?}");
        assert!(
            fault == Some(LinkFault::Silent) && kind == io::ErrorKind::TimedOut,
            "{what}: {fault:?} {kind:?}"
        );
    }
    let patience = (SILENCE_MAX * 3 / 2).saturating_sub(pulled.elapsed());
    thread::sleep(patience);
    let mut taken = 0;
    while taken < 32 << 20 {
        let len = slow_far.fill_buf().expect("it was slow, not gone").len();
        slow_far.consume(len);
        taken += len;
    }
    slow.join().expect("all was sent");
}
