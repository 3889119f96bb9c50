//! Real encodings, one or a few for each target, which the fuzzer starts from.

use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::{Fence, JoinToken, Profile, Refusal, Role, Ticket, TicketFault, Verb};
use orbit_core::ids::{GridId, JobId, LeaseId, LinkId, NodeId, PeerKey, Serial, TokenId};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{Enrol, Enrolled, Hello, JoinReply, JoinRequest, NucleusAddress};
use orbit_core::wire::link::{LinkAnswer, LinkCall, LinkCipher, LinkOffer, SignedTicket};
use orbit_core::wire::listing::ListingPacker;
use orbit_core::wire::pulse::{Disk, Load, Metering, Pulse, PulseReply, Update};
use orbit_core::wire::system::{Call, Opened, Opening, Reply, WireFault, WireSystemError};
use orbit_core::wire::{PROTOCOL_VERSION, encode};
use orbit_core::{
    Attributes, ByteRange, Chunk, ContentHash, EntryKind, Listing, Metadata, RelPath, Timestamp,
};
use orbit_mesh::key::NodeKey;
use orbit_mesh::pki::{Authority, Grant, SigningRequest};

/// What time it is: in 2027.
pub const NOW: i64 = 1_800_000_000_000;
/// The grid.
pub const GRID: GridId = GridId::from_bytes([0x47; 16]);
const NODE: NodeId = NodeId::from_bytes([0x4e; 16]);
const KEY_FILE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIEJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC\n-----END PRIVATE KEY-----\n";

const CONFIG: &str = r#"name = "nas2"
[security]
allowed_paths = ["/mnt/data", "/srv"]
[mesh]
listen = ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"]
mdns = true
via = ["gateway.example.org:4001"]
"#;

/// A file of the corpus.
pub struct Seed {
    /// Whose.
    pub target: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The key of the member that certificates are for. Its secret half is known to everybody.
pub fn peer() -> PeerKey {
    key().key()
}

fn key() -> NodeKey {
    NodeKey::from_pem(KEY_FILE).expect("it is a key file")
}

/// Reads base64 without padding: the middle line of a key file.
pub fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().map(|byte| u32::from(digit(byte))).collect();
    let groups = digits.chunks_exact(4).map(|group| group.iter().fold(0, |bits, digit| bits << 6 | digit));
    groups.flat_map(|bits| bits.to_be_bytes().into_iter().skip(1)).collect()
}

/// All seeds.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name, bytes| seeds.push(Seed { target, name, bytes });
    let authority = Authority::create(GRID, NOW).expect("a grid can be founded");
    let next = Authority::create(GRID, NOW).expect("a grid can be founded");
    let request = SigningRequest::create(&key()).expect("a key can ask");
    let certificate = certificate(&authority, &request);
    let anchor = authority.certificate().der().to_vec();
    let cross = authority.cross_sign(next.certificate()).expect("the same grid");

    add("certificate", "member", certificate.clone());
    add("certificate", "authority", anchor.clone());
    add("certificate", "cross_signed", cross.clone());
    add("certificate", "request", request.clone());
    for (name, der) in [("member", &certificate), ("authority", &anchor), ("cross_signed", &cross)] {
        // Without the four bytes around it, the algorithm and the signature.
        add("signed_certificate", name, der[4..der.len() - 74].to_vec());
    }
    add("key_file", "ours", KEY_FILE.into());
    add("token", "ours", token().into());
    add("token", "shouted", token().to_uppercase().into());
    for (name, text) in [
        ("local", "./a:b"),
        ("absolute", "/srv/photos"),
        ("remote", "nas2:/srv/photos"),
        ("url", "s3://bucket"),
        ("drive", "C:\\photos"),
        ("no_path", "nas2:"),
    ] {
        add("endpoint", name, text.into());
    }
    add("config", "bare", "name = \"nas2\"\n".into());
    add("config", "full", CONFIG.into());
    for (name, bytes) in join(&certificate, &anchor, &request) {
        add("join", name, bytes);
    }
    for (name, bytes) in control(&certificate, &anchor, &request) {
        add("control", name, bytes);
    }
    for (name, bytes) in link(&certificate) {
        add("link", name, bytes);
    }
    for (name, bytes) in pulse(&anchor) {
        add("pulse", name, bytes);
    }
    for (name, bytes) in system() {
        add("system", name, bytes);
    }
    for (name, bytes) in listings() {
        #[cfg(feature = "node")]
        for seed in packed(name, &bytes) {
            add(seed.target, seed.name, seed.bytes);
        }
        add("listing", name, bytes);
    }
    for (name, bytes) in sessions() {
        add("star", name, bytes);
    }
    for (name, bytes) in answers() {
        add("remote", name, bytes);
    }
    seeds
}

fn metadata(size: u64, kind: EntryKind) -> Metadata {
    let mtime = Timestamp { seconds: 1_700_000_000, nanos: 5 };
    Metadata {
        kind,
        size,
        allocated: size.next_multiple_of(4096),
        attributes: Attributes { mode: 0o644, uid: 1000, gid: 100, mtime },
        ctime: Timestamp { seconds: 1_700_000_001, nanos: 6 },
        dev: 40,
        ino: 7000 + size,
        links: 1,
        rdev: 0,
    }
}

fn listings() -> Vec<Named> {
    let mut root = Listing::new(RelPath::root());
    root.push(b"IMG_0001.jpg", metadata(4_000_000, EntryKind::File));
    root.push(b"IMG_0002.jpg", metadata(0, EntryKind::File));
    root.push(b"more", metadata(4096, EntryKind::Directory));
    let more = RelPath::new(b"more".to_vec()).expect("it is a path");
    let mut below = Listing::new(more.clone());
    below.push(b"link", metadata(9, EntryKind::Symlink));
    let mut boundary = Listing::new(more.join(b"disk").expect("it is a name"));
    boundary.is_boundary = true;
    let pack = |listings: &[&Listing]| {
        let mut packer = ListingPacker::new();
        for listing in listings {
            assert_eq!(packer.push(listing, 0), None, "there is room");
        }
        packer.finish()
    };
    vec![("tree", pack(&[&root, &below, &boundary])), ("one", pack(&[&below])), ("empty", pack(&[]))]
}

fn certificate(authority: &Authority, request: &[u8]) -> Vec<u8> {
    let request = SigningRequest::parse(request).expect("it was just made");
    let grant = Grant {
        node: NODE,
        grid: GRID,
        role: Role::Nucleus,
        serial: Serial::from_bytes([0x53; 16]),
        not_before_ms: NOW - 3_600_000,
        not_after_ms: NOW + 90 * 86_400_000,
    };
    authority.issue(&request, &grant).expect("the grant is in order")
}

fn token() -> String {
    JoinToken { grid: GRID, pin: [0x50; 32], id: TokenId::from_bytes([0x54; 6]), secret: [0x5e; 32] }
        .to_text()
}

fn nucleus() -> NucleusAddress {
    NucleusAddress { node: NODE, key: peer(), addresses: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()] }
}

fn enrol(request: &[u8]) -> Enrol {
    Enrol {
        token: TokenId::from_bytes([0x54; 6]),
        secret: vec![0x5e; 32],
        request: request.to_vec(),
        name: "nas2".to_owned(),
    }
}

fn enrolled(certificate: &[u8], anchor: &[u8]) -> Box<Enrolled> {
    Box::new(Enrolled {
        grid: GRID,
        grid_name: "home".to_owned(),
        node: NODE,
        name: "nas2".to_owned(),
        certificate: certificate.to_vec(),
        anchors: vec![Octets(anchor.to_vec())],
        nuclei: vec![nucleus()],
        fence: Fence { epoch: 1, term: 7 },
    })
}

type Named = (&'static str, Vec<u8>);

fn join(certificate: &[u8], anchor: &[u8], request: &[u8]) -> Vec<Named> {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        grid: Some(GRID),
        fence: Fence { epoch: 1, term: 7 },
        certificate: certificate.to_vec(),
        anchors: vec![Octets(anchor.to_vec())],
        is_nucleus: true,
        now_ms: NOW,
    };
    let expired = Refusal::Certificate { reason: CertificateFault::Expired { ago_ms: 86_400_000 } };
    vec![
        ("hello", encode(&JoinRequest::Hello(hello.clone()))),
        ("where", encode(&JoinRequest::Nuclei)),
        ("enrol", encode(&JoinRequest::Enrol(enrol(request)))),
        ("re_enrol", encode(&JoinRequest::ReEnrol { request: request.to_vec() })),
        ("hello_back", encode(&JoinReply::Hello(hello))),
        ("nuclei", encode(&JoinReply::Nuclei(vec![nucleus()]))),
        ("enrolled", encode(&JoinReply::Enrolled(enrolled(certificate, anchor)))),
        ("refused", encode(&JoinReply::Refused(expired))),
    ]
}

fn control(certificate: &[u8], anchor: &[u8], request: &[u8]) -> Vec<Named> {
    let anchors = vec![Octets(anchor.to_vec())];
    let draining = Refusal::Draining { name: "nas2".to_owned() };
    vec![
        ("renew", encode(&ControlRequest::Renew { request: request.to_vec() })),
        ("renewed", encode(&ControlReply::Renewed { certificate: certificate.to_vec(), anchors })),
        ("refused", encode(&ControlReply::Refused(draining))),
    ]
}

fn link(certificate: &[u8]) -> Vec<Named> {
    let ticket = Ticket {
        grid: GRID,
        fence: Fence { epoch: 1, term: 3 },
        job: JobId::from_bytes([0x4a; 16]),
        source: NODE,
        source_key: peer(),
        source_addresses: vec!["/ip4/192.0.2.7/tcp/4001".to_owned()],
        destination: NodeId::from_bytes([0x44; 16]),
        root: b"/mnt/data".to_vec(),
        verb: Verb::Read,
        nonce: [0x6e; 16],
        issued_ms: NOW,
        expires_ms: NOW + 60_000,
    };
    let bytes = encode(&ticket);
    let signature = key().sign(&SignedTicket::signed_bytes(&bytes));
    let signed = SignedTicket { ticket: bytes.clone(), certificate: certificate.to_vec(), signature };
    let (lease, link) = (LeaseId::from_bytes([0x4c; 16]), LinkId::from_bytes([0x6c; 16]));
    let addresses = vec!["192.0.2.7:4002".to_owned(), "[2001:db8::7]:4002".to_owned()];
    let offer = LinkOffer {
        lease,
        link,
        secret: [0x73; 32],
        cipher: LinkCipher::AesGcm,
        addresses: addresses.clone(),
    };
    let used = Refusal::Ticket { node: "nas1".to_owned(), reason: TicketFault::Used };
    let present = LinkCall::Present {
        ticket: Box::new(signed.clone()),
        certificate: certificate.to_vec(),
        cipher: LinkCipher::ChaChaPoly,
    };
    vec![
        ("ticket", bytes),
        ("signed", encode(&signed)),
        ("present", encode(&present)),
        ("more", encode(&LinkCall::More { lease, cipher: LinkCipher::AesGcm })),
        ("dial_me", encode(&LinkCall::DialMe { link, addresses })),
        ("offer", encode(&LinkAnswer::Offer(offer))),
        ("refused", encode(&LinkAnswer::Refused(used))),
    ]
}

fn pulse(anchor: &[u8]) -> Vec<Named> {
    let disks = vec![Disk { path: "/srv".to_owned(), total: 4 << 40, free: 1 << 40 }];
    let full = Pulse {
        seq: 3,
        now_ms: NOW,
        rtt_us: 900,
        load: Load { cpu_permille: 250, cores: 4, disks, ..Load::default() },
        metering: Metering { since_ms: NOW, calls: 12, ..Metering::default() },
        profile: Some(Profile { version: "0.1.0".to_owned(), ..Profile::default() }),
        serial: Some(Serial::from_bytes([0x53; 16])),
    };
    let update = Update {
        name: "nas2".to_owned(),
        anchors: vec![Octets(anchor.to_vec())],
        revoked: vec![Serial::from_bytes([0x52; 16])],
        nuclei: vec![nucleus()],
        ..Update::default()
    };
    let reply = PulseReply { seq: Some(3), update: Some(Box::new(update)), ..PulseReply::default() };
    vec![
        ("bare", encode(&Pulse::default())),
        ("full", encode(&full)),
        ("reply", encode(&reply)),
        ("bare_reply", encode(&PulseReply::default())),
    ]
}

/// A pack, compressed, and as an answer to a scan.
#[cfg(feature = "node")]
fn packed(name: &'static str, pack: &[u8]) -> [Seed; 2] {
    let mut packer = orbit_node::remote::pack::Packer::new().expect("memory");
    let bytes = packer.compress(pack).expect("memory");
    let scan = answer(0, &[encode(&Reply::Listings(bytes.clone())), encode(&Reply::Done)]);
    [Seed { target: "pack", name, bytes }, Seed { target: "remote", name, bytes: scan }]
}

/// Messages as the targets for whole sessions take them.
fn session(messages: &[Vec<u8>]) -> Vec<u8> {
    let framed =
        messages.iter().map(|message| [&(message.len() as u16).to_le_bytes(), &message[..]].concat());
    framed.collect::<Vec<_>>().concat()
}

fn sessions() -> Vec<Named> {
    let opening = |path: &str| {
        let path = format!("/tmp/orbit-fuzz-star/{path}").into_bytes();
        encode(&Opening { fence: Fence { epoch: 1, term: 7 }, path, browse: true })
    };
    let scan = encode(&Call::Scan { start: vec![], one_file_system: true, threads: 4 });
    let list = |path: &str| encode(&Call::List { path: path.into() });
    let look = |path: &str| encode(&Call::Metadata { path: path.into() });
    let range = ByteRange::first(4096);
    vec![
        ("scan", session(&[opening("open"), scan, encode(&Call::Prune { directory: b"deep".to_vec() })])),
        ("look", session(&[opening("open"), look("a"), list("photos"), look("out/secret"), list("out")])),
        (
            "hash",
            session(&[
                opening("open"),
                encode(&Call::HashRange { path: b"a".to_vec(), range }),
                encode(&Call::Chunk { path: b"a".to_vec(), with_chunks: true }),
                encode(&Call::ReadHeader { path: b"way".to_vec(), len: 512 }),
                encode(&Call::ReadLink { path: b"way".to_vec() }),
                encode(&Call::Xattrs { path: b"a".to_vec() }),
            ]),
        ),
        (
            "read",
            session(&[
                opening("open/a"),
                encode(&Call::Open { path: b"a".to_vec() }),
                encode(&Call::FileMetadata),
                encode(&Call::NextData { offset: 0 }),
                encode(&Call::Read { offset: 9000, len: 4096 }),
                encode(&Call::FileXattrs),
            ]),
        ),
        ("outside", session(&[opening("closed"), list("")])),
        ("above", session(&[opening(".."), list("")])),
    ]
}

fn opened(ways: Vec<Octets>) -> Vec<u8> {
    encode(&Reply::Opened(Opened { start: vec![], node: "nas2".to_owned(), ways }))
}

/// What a star answers; the first byte says to what, as `check::node::remote` reads it.
fn answer(ask: u8, replies: &[Vec<u8>]) -> Vec<u8> {
    let messages: Vec<_> = std::iter::once(opened(vec![])).chain(replies.iter().cloned()).collect();
    [vec![ask], session(&messages)].concat()
}

fn answers() -> Vec<Named> {
    let hash = ContentHash::from_bytes([0x48; 32]);
    let fault = WireSystemError { path: b"more".to_vec(), fault: WireFault::Escapes };
    let faulty = encode(&Reply::ScanFault { directory: b"more".to_vec(), error: fault });
    let file = encode(&Reply::Metadata(metadata(4096, EntryKind::File)));
    let bytes = encode(&Reply::Bytes(b"contents".to_vec()));
    let xattrs = encode(&Reply::Xattrs(vec![(Octets(b"user.a".to_vec()), Octets(b"1".to_vec()))]));
    vec![
        ("scan", answer(0, &[faulty, encode(&Reply::Done)])),
        ("metadata", answer(2, std::slice::from_ref(&file))),
        ("link", answer(3, std::slice::from_ref(&bytes))),
        ("xattrs", answer(4, std::slice::from_ref(&xattrs))),
        ("header", answer(5, std::slice::from_ref(&bytes))),
        ("hash", answer(6, &[encode(&Reply::Hash(hash))])),
        (
            "chunks",
            answer(7, &[encode(&Reply::Chunks(vec![Chunk { hash, len: 4096 }])), encode(&Reply::Hash(hash))]),
        ),
        ("read", answer(8, &[file.clone(), file, bytes, encode(&Reply::Range(None)), xattrs])),
        ("browse", [vec![9], session(&[opened(vec![Octets(b"photos".to_vec())])])].concat()),
    ]
}

fn system() -> Vec<Named> {
    let path = b"photos/2026".to_vec();
    let opening = Opening { fence: Fence { epoch: 1, term: 7 }, path: b"/srv".to_vec(), browse: true };
    let opened = Opened { start: vec![], node: "nas2".to_owned(), ways: vec![Octets(b"photos".to_vec())] };
    let failed = |fault| encode(&Reply::Failed(WireSystemError { path: path.clone(), fault }));
    let hash = ContentHash::from_bytes([0x48; 32]);
    let wrong_kind = WireFault::WrongKind { wanted: "directory".to_owned() };
    vec![
        ("opening", encode(&opening)),
        ("scan", encode(&Call::Scan { start: path.clone(), one_file_system: true, threads: 4 })),
        ("stop", encode(&Call::Stop)),
        (
            "hash",
            encode(&Call::HashRange {
                path: path.clone(),
                range: ByteRange::new(0, 4096).expect("in range"),
            }),
        ),
        ("chunk", encode(&Call::Chunk { path: path.clone(), with_chunks: true })),
        ("read", encode(&Call::Read { offset: 1 << 40, len: 1 << 20 })),
        ("opened", encode(&Reply::Opened(opened))),
        ("wrong_kind", failed(wrong_kind)),
        ("escapes", failed(WireFault::Escapes)),
        ("xattrs", encode(&Reply::Xattrs(vec![(Octets(b"user.a".to_vec()), Octets(b"1".to_vec()))]))),
        ("metadata", encode(&Reply::Metadata(metadata(4096, EntryKind::File)))),
        ("hashed", encode(&Reply::Hash(hash))),
        ("chunks", encode(&Reply::Chunks(vec![Chunk { hash, len: 4096 }; 2]))),
        ("range", encode(&Reply::Range(ByteRange::new(4096, 512).ok()))),
        ("done", encode(&Reply::Done)),
    ]
}
