//! [`Socket`]: what a direct link runs on, and whether the machine at its other end is still there.

use super::{LinkFault, SILENCE_MAX};
use rustix::net::sockopt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How often whoever waits looks whether it waits in vain.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A connection on which nothing is said is probed after so long,
const PROBE_AFTER: Duration = Duration::from_secs(4);
/// so often,
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// and given up after so many without an answer.
const PROBES_MAX: u32 = 4;

/// A blocking byte stream.
#[derive(Debug)]
pub(super) enum Socket {
    /// To another machine.
    Tcp(TcpStream),
    /// To a task of this process that carries the bytes on.
    Local(UnixStream),
}

impl Socket {
    /// Makes a connection fit for bulk.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.set_write_timeout(Some(LOOK_EVERY))?;
        // Not TCP_USER_TIMEOUT: it also gives up a peer that answers but takes nothing for a while.
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(&stream, PROBE_EVERY)?;
        sockopt::set_tcp_keepcnt(&stream, PROBES_MAX)?;
        Ok(Self::Tcp(stream))
    }

    /// Ends both directions, whoever waits for them.
    pub fn shut(&self, how: Shutdown) {
        // It may have ended by itself.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Local(stream) => stream.shutdown(how),
        };
    }

    /// Reads what is there, at least a byte; 0 at the end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|| match self {
            Self::Tcp(stream) => (&mut &*stream).read(buffer),
            Self::Local(stream) => (&mut &*stream).read(buffer),
        })
    }

    /// Writes everything.
    pub fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.patiently(|| match self {
                Self::Tcp(stream) => (&mut &*stream).write(bytes),
                Self::Local(stream) => (&mut &*stream).write(bytes),
            })?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Tries again for as long as the other machine is there.
    fn patiently(&self, mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if let Self::Tcp(stream) = self
                        && error.raw_os_error() != Some(libc::ETIMEDOUT)
                        && !tcp_info(stream)?.is_silent()
                    {
                        continue;
                    }
                    self.shut(Shutdown::Both);
                    return Err(LinkFault::Silent.into());
                }
                done => return done,
            }
        }
    }
}

/// What the system knows of a connection.
#[derive(Clone, Copy, Debug)]
struct TcpInfo {
    /// Times that the oldest unanswered bytes were sent again.
    retransmits: u8,
    /// Probes of a closed window that were not answered.
    probes: u8,
    /// Since when the other machine has said nothing at all.
    last_ack: Duration,
}

impl TcpInfo {
    /// Whether the other machine leaves unanswered what it must answer. One that only takes nothing answers probes; one of
    /// them may be on its way just now.
    fn is_silent(&self) -> bool {
        (self.retransmits >= 2 || self.probes >= 2) && self.last_ack >= SILENCE_MAX
    }
}

#[allow(unsafe_code, reason = "rustix does not wrap TCP_INFO")]
fn tcp_info(stream: &TcpStream) -> io::Result<TcpInfo> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the structure is made of integers alone, for which zeros are values.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `stream` is borrowed; the kernel writes at most `len` bytes, which is the size
    // of `info`.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo {
        retransmits: info.tcpi_retransmits,
        probes: info.tcpi_probes,
        last_ack: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(retransmits: u8, probes: u8, seconds: u64) -> TcpInfo {
        TcpInfo { retransmits, probes, last_ack: Duration::from_secs(seconds) }
    }

    #[test]
    fn only_what_must_be_answered_counts() {
        assert!(info(5, 0, 11).is_silent(), "data is not acknowledged");
        assert!(info(0, 2, 11).is_silent(), "nor are probes");
        assert!(!info(5, 0, 9).is_silent(), "a lossy network");
        assert!(
            !info(0, 0, 3_600).is_silent(),
            "nothing was said, or the other side takes nothing and answers"
        );
        assert!(!info(0, 1, 60).is_silent(), "a probe is on its way");
    }

    #[test]
    fn the_system_tells_of_a_fresh_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let info = tcp_info(&stream).expect("it is one");
        assert!(!info.is_silent(), "{info:?}");
        assert!(info.last_ack < Duration::from_mins(1), "{info:?}");
    }
}
