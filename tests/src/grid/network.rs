//! [`Network`]: a switch and network namespaces, on this machine.
//!
//! ```text
//!   namespace SW:  br0 ─┬─ p0 ═══ veth ═══ eth0  namespace 0: 10.77.0.1, fd77::1
//!                       └─ p1 ═══ veth ═══ eth0  namespace 1: 10.77.0.2, fd77::2
//! ```

use crate::report::{is_root_or_skips, skipped};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

/// Names of namespaces begin so; the process that made them and a number follow.
const PREFIX: &str = "orbit-test-";

/// Which addresses the nodes have beside link-local ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// 10.77.0.x.
    Four,
    /// fd77::x.
    Six,
    /// Both.
    Both,
}

/// Namespaces with cables between them; gone when dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    count: usize,
    addresses: Addresses,
}

impl Network {
    /// Builds it. `None`, and a loud word, where that cannot be done.
    pub fn build_or_skips(count: usize, addresses: Addresses) -> Option<Self> {
        const WHAT: &str = "a network of several hosts";
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !is_root_or_skips(WHAT) {
            return None;
        }
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let network = Self { name: format!("{PREFIX}{}-{number}", std::process::id()), count, addresses };
        match network.build() {
            Ok(()) => Some(network),
            Err(why) => {
                skipped(WHAT, &why);
                None
            }
        }
    }

    /// The namespace of a node.
    pub fn namespace(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    /// IPv4 address of a node.
    pub fn ip4(&self, index: usize) -> String {
        format!("10.77.0.{}", index + 1)
    }

    /// IPv6 address of a node.
    pub fn ip6(&self, index: usize) -> String {
        format!("fd77::{:x}", index + 1)
    }

    /// The cable of a node.
    pub fn cable(&self, index: usize) -> Cable<'_> {
        Cable { network: self, index }
    }

    /// From now on `at` hears nothing of `from`, while `from` hears `at`. `false`, and a loud word, where there is no
    /// iptables.
    pub fn deafen(&self, at: usize, from: usize) -> bool {
        self.filter(at, &["-A", "INPUT", "-s"], from)
    }

    /// Undoes [`deafen`](Self::deafen).
    pub fn undeafen(&self, at: usize, from: usize) -> bool {
        self.filter(at, &["-D", "INPUT", "-s"], from)
    }

    /// From now on a node takes new connections on one TCP port alone, until [`unite`](Self::unite). `false`, and a loud word, where
    /// there is no iptables.
    pub fn close_but(&self, at: usize, port: u16) -> bool {
        let port = port.to_string();
        let rule = ["-A", "INPUT", "-p", "tcp", "--syn", "!", "--dport", &port, "-j", "DROP"];
        ["iptables", "ip6tables"].into_iter().all(|program| {
            let done = self.in_namespace(at, &[&[program][..], &rule].concat());
            if let Err(why) = &done {
                skipped("a firewall", why);
            }
            done.is_ok()
        })
    }

    /// From now on no packet passes between the nodes of `one` and all others.
    pub fn partition(&self, one: &[usize]) -> bool {
        let pairs = || {
            (0..self.count)
                .filter(|i| one.contains(i))
                .flat_map(|a| (0..self.count).filter(|i| !one.contains(i)).map(move |b| (a, b)))
        };
        pairs().all(|(a, b)| self.deafen(a, b) && self.deafen(b, a))
    }

    /// Undoes [`partition`](Self::partition).
    pub fn unite(&self) {
        for index in 0..self.count {
            for program in ["iptables", "ip6tables"] {
                drop(self.in_namespace(index, &[program, "-F", "INPUT"]));
            }
        }
    }

    /// Gives the hosts file of a node this content: what names mean there.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn set_hosts(&self, index: usize, content: &str) {
        let directory = settings(&self.namespace(index));
        fs::create_dir_all(&directory).expect("makes a directory");
        fs::write(directory.join("hosts"), content).expect("writes");
    }

    fn filter(&self, at: usize, rule: &[&str], from: usize) -> bool {
        let mut families = Vec::new();
        if self.addresses != Addresses::Six {
            families.push(("iptables", self.ip4(from)));
        }
        if self.addresses != Addresses::Four {
            families.push(("ip6tables", self.ip6(from)));
        }
        families.into_iter().all(|(program, address)| {
            let words = [&[program][..], rule, &[&address, "-j", "DROP"]].concat();
            let done = self.in_namespace(at, &words);
            if let Err(why) = &done {
                skipped("packets that are lost one way", why);
            }
            done.is_ok()
        })
    }

    fn in_namespace(&self, index: usize, words: &[&str]) -> Result<(), String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(index)]).args(words);
        done(command)
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.name)
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        // With snooping a bridge without a querier forgets who wants multicast.
        batch(&switch, "link add br0 type bridge mcast_snooping 0\nlink set br0 up\n")?;
        for index in 0..self.count {
            let (name, port) = (self.namespace(index), format!("p{index}"));
            ip(&["netns", "add", &name])?;
            ip(&[
                "link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", &port, "netns",
                &switch,
            ])?;
            batch(&switch, &format!("link set {port} master br0\nlink set {port} up\n"))?;
            batch(&name, "link set lo up\nlink set eth0 up\n")?;
            if self.addresses != Addresses::Six {
                let address = self.ip4(index);
                batch(&name, &format!("addr add {address}/24 dev eth0\nroute add 224.0.0.0/4 dev eth0\n"))?;
            }
            if self.addresses != Addresses::Four {
                // Nobody else has the address, and a tentative one cannot be listened on.
                batch(&name, &format!("addr add {}/64 dev eth0 nodad\n", self.ip6(index)))?;
            }
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let nodes = (0..self.count).map(|index| self.namespace(index));
        for name in nodes.chain([self.switch()]) {
            remove(&name);
        }
    }
}

/// The cable between a node and the switch.
#[derive(Debug)]
pub struct Cable<'a> {
    network: &'a Network,
    index: usize,
}

impl Cable<'_> {
    /// Pulls it.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn cut(&self) {
        self.set("down");
    }

    /// Puts it back.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn mend(&self) {
        self.set("up");
    }

    fn set(&self, state: &str) {
        let port = format!("p{}", self.index);
        ip(&["-n", &self.network.switch(), "link", "set", &port, state]).expect("sets a link");
    }
}

/// Removes what test runs left that were killed.
fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        if !Path::new("/proc").join(process).exists() {
            remove(&name);
        }
    }
}

/// Ends what runs in a namespace of ours, and removes it.
fn remove(name: &str) {
    let processes = Command::new("ip").args(["netns", "pids", name]).output();
    for process in processes.iter().flat_map(|output| output.stdout.split(|&byte| byte == b'\n')) {
        let process = std::str::from_utf8(process).ok().and_then(|text| text.parse().ok());
        if let Some(process) = process.and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
    drop(ip(&["netns", "del", name]));
    drop(fs::remove_dir_all(settings(name)));
}

/// Where `ip netns exec` looks for files that replace those of `/etc`.
fn settings(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

fn ip(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(words);
    done(command)
}

/// Several lines for ip(8) in one namespace.
fn batch(namespace: &str, lines: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let write = |command: &mut Command| -> io::Result<std::process::Output> {
        let mut child = command.spawn()?;
        child.stdin.take().expect("is a pipe").write_all(lines.as_bytes())?;
        child.wait_with_output()
    };
    let output = write(&mut command);
    verdict(&command, output)
}

fn done(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    verdict(&command, output)
}

fn verdict(command: &Command, output: io::Result<std::process::Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
