//! Measures a direct link against a plain TCP connection: memory to memory over loopback, one process per end.
//!
//! ```text
//! link_rate [GIB [ROUNDS]]
//! ```
//!
//! Each round sends that much by each of the ways, one after the other. Prints a line for each: what, how many connections, bytes,
//! seconds, and seconds of processor of both ends together.

use orbit_core::ids::LinkId;
use orbit_mesh::Cipher;
use orbit_mesh::direct::{DATA_BYTES_MAX, DirectLimits, DirectListener, DirectStream, Terms, dial};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;
use zeroize::Zeroizing;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a plain read or write.
const PLAIN_BYTES: usize = 256 << 10;
/// The ways: plain or with a cipher, and connections.
const WAYS: [(Option<Cipher>, u64); 6] = [
    (None, 1),
    (Some(Cipher::AesGcm), 1),
    (Some(Cipher::ChaChaPoly), 1),
    (None, 2),
    (Some(Cipher::AesGcm), 2),
    (Some(Cipher::ChaChaPoly), 2),
];

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "receive") {
        return receive();
    }
    let gib: f64 = words.first().map_or(Ok(4.0), |word| word.parse())?;
    let rounds: usize = words.get(1).map_or(Ok(5), |word| word.parse())?;
    let bytes = (gib * f64::from(1 << 30)) as u64;
    let mut receiver = Receiver::start()?;
    for _ in 0..rounds {
        for (number, (cipher, connections)) in WAYS.into_iter().enumerate() {
            let (seconds, processor) = receiver.time(number, cipher, connections, bytes / connections)?;
            let what = cipher.map_or_else(|| "tcp".to_owned(), |cipher| format!("link {cipher}"));
            writeln!(
                std::io::stdout(),
                "{what}, {connections}: {bytes} B in {seconds:.3} s, {processor:.3} s of processor"
            )?;
        }
    }
    Ok(())
}

/// The same at both ends: this is a measurement on one machine.
fn terms(cipher: Cipher, connection: u64) -> Terms {
    Terms { link: LinkId::from_bytes([connection as u8; 16]), secret: Zeroizing::new([7; 32]), cipher }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Seconds of processor that this process has used.
fn processor_used() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// The other process.
struct Receiver {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Receiver {
    fn start() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg("receive").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = process.stdin.take().ok_or("no way to it")?;
        let from = BufReader::new(process.stdout.take().ok_or("no way from it")?);
        Ok(Self { process, to, from })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Sends so many bytes on each of so many connections; seconds until all have arrived, and seconds of processor.
    fn time(
        &mut self,
        way: usize,
        cipher: Option<Cipher>,
        connections: u64,
        bytes: u64,
    ) -> Result<(f64, f64), Failure> {
        writeln!(self.to, "{way}")?;
        let address: SocketAddr = self.line()?.parse()?;
        let mut streams: Vec<Box<dyn Send + FnOnce() -> Result<(), Failure>>> = Vec::new();
        let runtime = runtime()?;
        for connection in 0..connections {
            streams.push(match cipher {
                None => {
                    let stream = TcpStream::connect(address)?;
                    Box::new(move || send_plain(stream, bytes))
                }
                Some(cipher) => {
                    let stream = runtime.block_on(dial(&[address], &terms(cipher, connection)))?;
                    Box::new(move || send(stream, bytes))
                }
            });
        }
        let theirs: f64 = self.line()?.parse()?;
        let (begun, ours) = (Instant::now(), processor_used());
        let sending: Vec<_> = streams.into_iter().map(thread::spawn).collect();
        for one in sending {
            one.join().map_err(|_| "a sender panicked")??;
        }
        let used: f64 = self.line()?.parse()?;
        Ok((begun.elapsed().as_secs_f64(), processor_used() - ours + used - theirs))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn send_plain(mut stream: TcpStream, bytes: u64) -> Result<(), Failure> {
    let memory = vec![0x5a; PLAIN_BYTES];
    let mut left = bytes as usize;
    while left > 0 {
        let written = stream.write(&memory[..left.min(PLAIN_BYTES)])?;
        left -= written;
    }
    Ok(())
}

fn send(stream: DirectStream, bytes: u64) -> Result<(), Failure> {
    let (_reader, mut writer) = stream.split();
    let memory = vec![0x5a; DATA_BYTES_MAX];
    let mut left = bytes as usize;
    while left > 0 {
        left -= writer.write(&memory[..left.min(memory.len())])?;
    }
    Ok(writer.finish()?)
}

/// The receiving process: takes what the way that it is told needs, and says what processor time it had used before and after.
fn receive() -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut said = std::io::stdout();
    for line in std::io::stdin().lines() {
        let (cipher, connections) = *WAYS.get(line?.trim().parse::<usize>()?).ok_or("no such way")?;
        let mut taking: Vec<Box<dyn Send + FnOnce() -> Result<(), Failure>>> = Vec::new();
        match cipher {
            None => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                writeln!(said, "{}", listener.local_addr()?)?;
                for _ in 0..connections {
                    let (stream, _) = listener.accept()?;
                    taking.push(Box::new(move || take_plain(stream)));
                }
            }
            Some(cipher) => {
                let any = "127.0.0.1:0".parse()?;
                // In the runtime: its sockets are this runtime's.
                let listener = DirectListener::bind(&[any], DirectLimits::default())?;
                let expect = |connection| listener.expect(terms(cipher, connection));
                let expected: Vec<_> = (0..connections).map(expect).collect::<Result<_, _>>()?;
                let served = listener.clone();
                let serving = runtime.spawn(async move { served.serve().await });
                writeln!(said, "{}", listener.addresses()[0])?;
                for mut one in expected {
                    let stream = runtime.block_on(one.arrive()).ok_or("nobody came")?;
                    taking.push(Box::new(move || take(stream)));
                }
                serving.abort();
            }
        }
        writeln!(said, "{}", processor_used())?;
        let taking: Vec<_> = taking.into_iter().map(thread::spawn).collect();
        for one in taking {
            one.join().map_err(|_| "a receiver panicked")??;
        }
        writeln!(said, "{}", processor_used())?;
    }
    Ok(())
}

fn take_plain(mut stream: TcpStream) -> Result<(), Failure> {
    let mut memory = vec![0; PLAIN_BYTES];
    while stream.read(&mut memory)? > 0 {}
    Ok(())
}

fn take(mut stream: DirectStream) -> Result<(), Failure> {
    loop {
        let len = stream.fill_buf()?.len();
        if len == 0 {
            return Ok(());
        }
        stream.consume(len);
    }
}
