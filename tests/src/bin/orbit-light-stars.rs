//! Many stars in one process: each has its own key, enrols, and sends heartbeats, and does nothing else.
//!
//! ```text
//! orbit-light-stars --count 1000 --token TOKEN --via 127.0.0.1:4001 [--spread]
//! ```
//!
//! Every second it prints one JSON object: how many are connected, and how heartbeats of that second were answered.
//! When the Nucleus goes away all of them try again, with the pauses of a real star. It ends when its input does, so
//! whoever started it cannot leave it behind.
//!
//! `--spread`: each star dials an address of its own in 127.1.0.0/16, so that with routes that give each another source
//! address (`benches/mesh` sets them) they look like as many hosts.
#![cfg(target_os = "linux")]

use orbit_core::grid::{DiskClass, Fence, JoinToken, Profile};
use orbit_core::wire::join::{Enrol, Enrolled, JoinReply, JoinRequest};
use orbit_core::wire::pulse::{Load, PULSE_BYTES_MAX, PULSE_INTERVAL_MS, Pulse, PulseReply};
use orbit_core::wire::{decode, encode};
use orbit_mesh::key::{NodeKey, random};
use orbit_mesh::net::{Identity, Limits, Mesh, MeshConfig, MeshStream, Protocol};
use orbit_mesh::pki::{SigningRequest, Trust};
use orbit_mesh::{Multiaddr, PeerId};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pause after the first failed attempt, and the longest; as a real star's.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

struct Options {
    count: usize,
    token: JoinToken,
    host: String,
    port: u16,
    spread: bool,
}

/// What all stars write down.
#[derive(Default)]
struct Ledger {
    enrolled: AtomicUsize,
    connected: AtomicUsize,
    failures: AtomicUsize,
    rtts_us: Mutex<Vec<u64>>,
    last_failure: Mutex<String>,
}

fn main() -> Result<(), Failure> {
    let options = Arc::new(options()?);
    let ledger = Arc::new(Ledger::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let begun = Instant::now();
    for index in 0..options.count {
        runtime.spawn(live(index, Arc::clone(&options), Arc::clone(&ledger)));
    }
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            report(&ledger, begun);
        }
    });
    // The end of the input is the end of whoever started this.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.shutdown_background();
    Ok(())
}

fn options() -> Result<Options, Failure> {
    let (mut count, mut token, mut via, mut spread) = (1000, None, None, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--count" => count = value()?.parse()?,
            "--token" => token = Some(JoinToken::parse(&value()?)?),
            "--via" => via = Some(value()?),
            "--spread" => spread = true,
            _ => return Err(format!("what is {word}?").into()),
        }
    }
    let via = via.ok_or("--via HOST:PORT is missing")?;
    let (host, port) = via.rsplit_once(':').ok_or("--via needs a port")?;
    let token = token.ok_or("--token is missing")?;
    Ok(Options { count, token, host: host.to_owned(), port: port.parse()?, spread })
}

fn report(ledger: &Ledger, begun: Instant) {
    let mut rtts = std::mem::take(&mut *ledger.rtts_us.lock().unwrap_or_else(PoisonError::into_inner));
    rtts.sort_unstable();
    let at = |share: usize| rtts.get((rtts.len() * share / 100).min(rtts.len().saturating_sub(1)));
    let line = serde_json::json!({
        "at_ms": begun.elapsed().as_millis() as u64,
        "enrolled": ledger.enrolled.load(Ordering::Relaxed),
        "connected": ledger.connected.load(Ordering::Relaxed),
        "failures": ledger.failures.load(Ordering::Relaxed),
        "last_failure": *ledger.last_failure.lock().unwrap_or_else(PoisonError::into_inner),
        "answered": rtts.len(),
        "p50_us": at(50),
        "p99_us": at(99),
        "max_us": rtts.last(),
    });
    // Whoever does not read has gone, which the input will tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One star, from its birth to the end of the process.
async fn live(index: usize, options: Arc<Options>, ledger: Arc<Ledger>) {
    let mut pause = PAUSES.0;
    let fail = |error: Failure| {
        ledger.failures.fetch_add(1, Ordering::Relaxed);
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let texts: Vec<String> =
            [error.to_string()].into_iter().chain(causes.map(ToString::to_string)).collect();
        *ledger.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = texts.join(": ");
    };
    let (mesh, peer, enrolled) = loop {
        match enrol(index, &options).await {
            Ok(done) => break done,
            Err(error) => fail(error),
        }
        rest(&mut pause).await;
    };
    ledger.enrolled.fetch_add(1, Ordering::Relaxed);
    pause = PAUSES.0;
    loop {
        if let Err(error) = serve(index, &options, &ledger, &mesh, peer, &enrolled, &mut pause).await {
            fail(error);
        }
        rest(&mut pause).await;
    }
}

async fn rest(pause: &mut Duration) {
    let [spread]: [u8; 1] = random();
    tokio::time::sleep(pause.mul_f32(0.5 + f32::from(spread) / 255.0)).await;
    *pause = (*pause * 2).min(PAUSES.1);
}

fn address(index: usize, options: &Options) -> Result<Multiaddr, Failure> {
    let host = if options.spread {
        format!("127.1.{}.{}", index / 250, index % 250 + 1)
    } else {
        options.host.clone()
    };
    Ok(format!("/ip4/{host}/tcp/{}", options.port).parse()?)
}

async fn enrol(index: usize, options: &Options) -> Result<(Mesh, PeerId, Enrolled), Failure> {
    let key = NodeKey::generate();
    let request = SigningRequest::create(&key)?;
    let config = MeshConfig {
        key,
        listen: Vec::new(),
        mdns: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits::default(),
    };
    let (mesh, mut events) = Mesh::start(config, None).await?;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let token = &options.token;
    let enrol =
        Enrol { token: token.id, secret: token.secret.to_vec(), request, name: format!("light{index:05}") };
    let asked = async {
        let peer = mesh.connect(None, vec![address(index, options)?]).await?;
        // A real node looks here whether the other belongs to the grid that the token pins.
        mesh.hello(peer).await?;
        Ok::<_, Failure>((peer, mesh.join(peer, JoinRequest::Enrol(enrol)).await?))
    };
    let refusal = match asked.await {
        Ok((peer, JoinReply::Enrolled(enrolled))) => {
            mesh.set_identity(identity(&enrolled)?).await;
            mesh.disconnect(peer).await;
            return Ok((mesh, peer, *enrolled));
        }
        Ok((_, JoinReply::Refused(refusal))) => Failure::from(refusal),
        Ok((_, JoinReply::Hello(_) | JoinReply::Nuclei(_))) => {
            "something else in answer to an enrolment".into()
        }
        Err(error) => error,
    };
    mesh.shutdown().await;
    Err(refusal)
}

fn identity(enrolled: &Enrolled) -> Result<Identity, Failure> {
    let anchors: Vec<Vec<u8>> = enrolled.anchors.iter().map(|anchor| anchor.0.clone()).collect();
    Ok(Identity {
        trust: Trust::new(enrolled.grid, &anchors, [])?,
        certificate: enrolled.certificate.clone(),
        fence: enrolled.fence,
        is_nucleus: false,
        anchors: enrolled.anchors.clone(),
    })
}

/// Connects and sends heartbeats until the link breaks.
async fn serve(
    index: usize,
    options: &Options,
    ledger: &Ledger,
    mesh: &Mesh,
    peer: PeerId,
    enrolled: &Enrolled,
    pause: &mut Duration,
) -> Result<(), Failure> {
    mesh.connect(Some(peer), vec![address(index, options)?]).await?;
    let stream = mesh.open(peer, Protocol::Pulse).await?;
    let connected = Connected::new(&ledger.connected);
    let ended = beat(index, ledger, enrolled.fence, stream, &connected, pause).await;
    drop(connected);
    mesh.disconnect(peer).await;
    ended
}

/// Counts a star as connected from its first answered heartbeat until it is dropped.
struct Connected<'a>(&'a AtomicUsize, AtomicBool);

impl<'a> Connected<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self(count, AtomicBool::new(false))
    }

    fn answered(&self) {
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        if self.1.load(Ordering::Relaxed) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn beat(
    index: usize,
    ledger: &Ledger,
    fence: Fence,
    stream: MeshStream,
    connected: &Connected<'_>,
    pause: &mut Duration,
) -> Result<(), Failure> {
    let (mut incoming, mut outgoing) = tokio::io::split(stream);
    // Read in a task of its own: a frame that has begun must not be dropped when it is time for a heartbeat. Few
    // replies wait: they are taken at once.
    let (replies, mut replied) = tokio::sync::mpsc::channel(4);
    let mut reader = tokio::task::JoinSet::new();
    reader.spawn(async move {
        loop {
            let reply = read(&mut incoming).await;
            let is_last = reply.is_err();
            if replies.send(reply).await.is_err() || is_last {
                return;
            }
        }
    });
    let mut profile = Some(Profile {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: "linux light".to_owned(),
        allowed_paths: vec!["/srv".to_owned()],
        addresses: vec![format!("/ip4/192.0.2.1/tcp/{}", 10_000 + index)],
        disk: DiskClass::Unknown,
    });
    let mut rtt_us = 0;
    for seq in 0.. {
        let pulse = Pulse {
            seq,
            now_ms: now_ms(),
            rtt_us,
            load: load(),
            profile: profile.take(),
            ..Pulse::default()
        };
        let message = encode(&pulse);
        let sent = Instant::now();
        outgoing.write_u32_le(u32::try_from(message.len())?).await?;
        outgoing.write_all(&message).await?;
        outgoing.flush().await?;
        let next = tokio::time::sleep(Duration::from_millis(PULSE_INTERVAL_MS));
        tokio::pin!(next);
        loop {
            // News may come at any time; the answer has the number of the heartbeat.
            let reply = tokio::select! {
                reply = replied.recv() => reply.ok_or("the link ended")??,
                () = &mut next => break,
            };
            if reply.fence < fence {
                return Err("a Nucleus that has been replaced".into());
            }
            if reply.seq == Some(seq) {
                let rtt = sent.elapsed().as_micros() as u64;
                rtt_us = u32::try_from(rtt).unwrap_or(u32::MAX);
                ledger.rtts_us.lock().unwrap_or_else(PoisonError::into_inner).push(rtt);
                connected.answered();
                *pause = PAUSES.0;
            }
        }
    }
    Ok(())
}

async fn read(incoming: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<PulseReply, Failure> {
    let len = incoming.read_u32_le().await? as usize;
    if len > PULSE_BYTES_MAX {
        return Err("a frame that is too long".into());
    }
    let mut bytes = vec![0; len];
    incoming.read_exact(&mut bytes).await?;
    Ok(decode(&bytes)?)
}

fn load() -> Load {
    Load { cpu_permille: 10, cores: 4, memory_total: 8 << 30, memory_available: 6 << 30, ..Load::default() }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
