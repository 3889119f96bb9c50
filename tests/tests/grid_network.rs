//! The network the grid's tests stand on: it carries what it should, and cables can be cut.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::network::Addresses;
use orbit_tests::wait::{poll, until};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A datagram from one namespace to another through bash, which every machine with these tests has.
fn listens(grid: &Grid, index: usize) -> Child {
    let namespace = grid.network().namespace(index);
    let script = "import socket,sys\n\
        s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n\
        s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,0)\n\
        s.bind(('::',7777))\n\
        print('up',flush=True)\n\
        while True: print(s.recvfrom(99)[0].decode(),flush=True)\n";
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace, "python3", "-c", script]).stdout(Stdio::piped());
    command.spawn().expect("python3 starts")
}

fn send(grid: &Grid, index: usize, to: &str, word: &str) {
    let namespace = grid.network().namespace(index);
    let family = if to.contains(':') { "AF_INET6" } else { "AF_INET" };
    let script = format!(
        "import socket\ns=socket.socket(socket.{family},socket.SOCK_DGRAM)\n\
         try: s.sendto(b'{word}',('{to}',7777))\n\
         except OSError: pass\n"
    );
    let status = Command::new("ip").args(["netns", "exec", &namespace, "python3", "-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "python3 sends");
}

#[test]
fn cables_carry_both_kinds_until_they_are_cut_and_nothing_stays_behind() {
    if Command::new("python3").arg("-V").output().is_err() {
        return orbit_tests::report::skipped("the test network itself", "python3 is not installed");
    }
    let Some(grid) = Grid::namespaces_with(3, Addresses::Both) else { return };
    let mut listener = listens(&grid, 1);
    let mut output = listener.stdout.take().expect("is a pipe");
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut line, mut byte) = (String::new(), [0]);
        while output.read(&mut byte).is_ok_and(|count| count > 0) {
            if byte[0] == b'\n' {
                drop(sender.send(std::mem::take(&mut line)));
            } else {
                line.push(byte[0] as char);
            }
        }
    });
    let heard = |word: &str, limit| poll(limit, || receiver.try_iter().find(|line| line == word)).is_some();
    let (long, short) = (Duration::from_secs(20), Duration::from_millis(300));
    assert!(heard("up", long));
    let network = grid.network();
    for to in [network.ip4(1), network.ip6(1)] {
        send(&grid, 0, &to, "whole");
        assert!(heard("whole", long), "a datagram to {to}");
    }
    network.cable(0).cut();
    send(&grid, 0, &network.ip4(1), "cut");
    assert!(!heard("cut", short), "the cable is cut");
    send(&grid, 2, &network.ip4(1), "other");
    assert!(heard("other", long), "the other's is not");
    network.cable(0).mend();
    until("the cable is mended", || {
        send(&grid, 0, &network.ip4(1), "mended");
        heard("mended", short)
    });
    if network.partition(&[0]) {
        send(&grid, 0, &network.ip4(1), "parted");
        assert!(!heard("parted", short), "a partition lets nothing through");
        network.unite();
        send(&grid, 0, &network.ip4(1), "united");
        assert!(heard("united", long), "and ends");
    }
    let namespace = network.namespace(0);
    drop(grid);
    // What ran in a namespace ends with it.
    until("the listener ended", || listener.try_wait().expect("asks for its child").is_some());
    reader.join().expect("a reader does not panic");
    assert!(!std::path::Path::new("/run/netns").join(namespace).exists(), "the namespace is gone");
}
