//! Questions to a daemon's API without the command line: for what a test asks often.

use super::node::Node;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

impl Node {
    /// `GET` on the socket of this node's daemon.
    pub fn get(&self, path: &str) -> io::Result<Value> {
        let mut stream = UnixStream::connect(self.data_dir().join("orbit.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        // In this version of HTTP an answer ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: orbit\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{error}: {answer}")))
    }

    /// Resident memory of its daemon, bytes.
    ///
    /// # Panics
    /// If it has none.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.daemon_id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a process has memory") * 1024
    }
}
