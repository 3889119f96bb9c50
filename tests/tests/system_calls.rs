//! What a run asks of the system, seen by strace: no more than it needs, and what it claims.
#![cfg(target_os = "linux")]

use orbit_tests::injection::{Injection, trace};
use orbit_tests::orbit::{Exit, sync_arguments};
use orbit_tests::scene::Scene;

/// Bytes that calls of the log returned for descriptors below a path.
fn bytes_below(path: &str, log: &[String]) -> u64 {
    let returned = |line: &String| line.rsplit_once(" = ")?.1.split(' ').next()?.parse::<u64>().ok();
    log.iter().filter(|line| line.contains(path)).filter_map(returned).sum()
}

#[test]
fn verify_reads_every_byte_back() {
    if !Injection::is_possible_or_skips() {
        return;
    }
    let scene = Scene::new();
    let mut source = scene.source_tree();
    for number in 0..20 {
        source.file(format!("{number}"), 50_000);
    }
    source.file("large", 17 << 20);
    let total = 20 * 50_000 + (17 << 20);
    let arguments = sync_arguments(&scene.source, &scene.destination, &["--verify"]);
    // Of a call that another thread interrupts, the log names the file and the result on two lines.
    let (run, log) = trace("read,pread64,readv,preadv,preadv2", &scene.orbit, arguments);
    run.expect(Exit::Done);
    let read = bytes_below(scene.destination.to_str().expect("is text"), &log);
    let unfinished = log.iter().filter(|line| line.contains("<unfinished")).count() as u64;
    assert!(read + unfinished * (4 << 20) >= total, "only {read} of {total} bytes were read back");
    assert!(read >= total / 2, "only {read} of {total} bytes were read back");
}

#[test]
fn an_unchanged_tree_is_neither_read_nor_written() {
    if !Injection::is_possible_or_skips() {
        return;
    }
    let scene = Scene::new();
    scene.mixed_source(81, 100);
    scene.sync_whole(&[]);
    let calls = "openat,openat2,read,pread64,write,pwrite64,renameat,renameat2,linkat,unlinkat,mkdirat,utimensat,\
                 fchmod,fchown,fchownat,fchmodat,fsetxattr,setxattr";
    let (run, log) =
        trace(calls, &scene.orbit, sync_arguments(&scene.source, &scene.destination, &["--mirror"]));
    run.expect(Exit::Done);
    let trees = [&scene.source, &scene.destination].map(|path| path.to_str().expect("is text"));
    let on_trees = log.iter().filter(|line| trees.iter().any(|tree| line.contains(tree)));
    // What a resumed call was asked for stands in the line where it began.
    let signs = ["O_DIRECTORY", "O_PATH", "pipe:", " resumed>"];
    let harmless = |line: &&String| signs.iter().any(|sign| line.contains(sign));
    let others: Vec<&String> = on_trees.filter(|line| !harmless(line)).collect();
    assert!(others.is_empty(), "{} calls, for example {:?}", others.len(), &others[..others.len().min(5)]);
}

#[test]
fn no_file_costs_a_look_into_proc() {
    if !Injection::is_possible_or_skips() {
        return;
    }
    let scene = Scene::new();
    scene.mixed_source(82, 200);
    let arguments = sync_arguments(&scene.source, &scene.destination, &[]);
    let calls =
        "openat,openat2,readlink,readlinkat,statx,newfstatat,access,faccessat2,chmod,fchmodat,utimensat";
    let (run, log) = trace(calls, &scene.orbit, arguments);
    run.expect(Exit::Done);
    let opens: Vec<&String> =
        log.iter().filter(|line| line.contains("\"/proc/") && line.contains("open")).collect();
    assert!(opens.len() < 40, "{} times, for example {:?}", opens.len(), &opens[..5]);
}
