//! Any message there is.

use crate::byte_range::ByteRange;
use crate::entry::{Attributes, EntryKind, Metadata, Timestamp};
use crate::grid::refusal::CertificateFault;
use crate::grid::{Content, DiskClass, Fence, Profile, Refusal, Ticket, TicketFault, Verb};
use crate::ids::{GridId, JobId, LeaseId, LinkId, NodeId, PeerKey, Serial, TokenId};
use crate::wire::bytes::Octets;
use crate::wire::control::{ControlReply, ControlRequest};
use crate::wire::join::{Enrol, Enrolled, Hello, JoinReply, JoinRequest, NucleusAddress};
use crate::wire::link::{LinkAnswer, LinkCall, LinkCipher, LinkOffer, SignedTicket};
use crate::wire::pulse::{Disk, Load, Metering, Pulse, PulseReply, Update};
use crate::wire::raft::{Lane, RaftFrame, RaftFrameKind, RaftHello, RaftWelcome, SealKey};
use crate::wire::system::{
    Bundled, Call, Cargo, ContentsPage, Found, Opened, Opening, Parcel, Piece, Reply, WireFault,
    WireSystemError,
};
use crate::{Chunk, ContentHash};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

#[derive(Debug)]
pub(super) enum Message {
    JoinRequest(JoinRequest),
    JoinReply(JoinReply),
    ControlRequest(ControlRequest),
    ControlReply(ControlReply),
    LinkCall(LinkCall),
    LinkAnswer(LinkAnswer),
    Ticket(Ticket),
    Pulse(Pulse),
    PulseReply(PulseReply),
    RaftHello(RaftHello),
    RaftWelcome(RaftWelcome),
    SealKey(SealKey),
    Opening(Opening),
    Call(Call),
    Reply(Reply),
}

pub(super) fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        join_requests().prop_map(Message::JoinRequest),
        join_replies().prop_map(Message::JoinReply),
        control_requests().prop_map(Message::ControlRequest),
        control_replies().prop_map(Message::ControlReply),
        link_calls().prop_map(Message::LinkCall),
        link_answers().prop_map(Message::LinkAnswer),
        tickets().prop_map(Message::Ticket),
        pulses().prop_map(Message::Pulse),
        pulse_replies().prop_map(Message::PulseReply),
        raft_hellos().prop_map(Message::RaftHello),
        raft_welcomes().prop_map(Message::RaftWelcome),
        any::<[u8; 32]>().prop_map(|key| Message::SealKey(SealKey { key })),
        (fences(), bytes(), any::<bool>()).prop_map(|(fence, path, browse)| Message::Opening(Opening {
            fence,
            path,
            browse
        })),
        calls().prop_map(Message::Call),
        replies().prop_map(Message::Reply),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..30)
}

fn octets() -> impl Strategy<Value = Vec<Octets>> {
    vec(bytes().prop_map(Octets), 0..4)
}

fn texts() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn fences() -> impl Strategy<Value = Fence> {
    (any::<u32>(), any::<u64>()).prop_map(|(epoch, term)| Fence { epoch, term })
}

fn node_ids() -> impl Strategy<Value = NodeId> {
    any::<[u8; 16]>().prop_map(NodeId::from_bytes)
}

fn keys() -> impl Strategy<Value = PeerKey> {
    any::<[u8; 32]>().prop_map(PeerKey::from_bytes)
}

fn refusals() -> impl Strategy<Value = Refusal> {
    let ids = any::<[u8; 6]>().prop_map(TokenId::from_bytes);
    let faults = prop_oneof![
        Just(CertificateFault::Revoked),
        any::<i64>().prop_map(|ago_ms| CertificateFault::Expired { ago_ms }),
        any::<i64>().prop_map(|in_ms| CertificateFault::NotYet { in_ms }),
    ];
    prop_oneof![
        (ids, any::<i64>()).prop_map(|(token, ago_ms)| Refusal::TokenExpired { token, ago_ms }),
        faults.prop_map(|reason| Refusal::Certificate { reason }),
        Just(Refusal::OtherGrid),
        (texts(), any::<i64>())
            .prop_map(|(node, ago_ms)| Refusal::Ticket { node, reason: TicketFault::Expired { ago_ms } }),
        any::<(u32, u32)>().prop_map(|(theirs, ours)| Refusal::OtherEpoch { theirs, ours }),
        (any::<(u32, u32, u32)>(), vec(texts(), 0..3)).prop_map(|((voters, needed, heard), silent)| {
            Refusal::NoQuorum { voters, needed, heard, silent }
        }),
        (texts(), option::of(texts())).prop_map(|(name, nearest)| Refusal::UnknownNode { name, nearest }),
        (texts(), texts(), vec(texts(), 0..3)).prop_map(|(node, path, allowed)| Refusal::OutsideJail {
            node,
            path,
            allowed
        }),
    ]
}

fn ciphers() -> impl Strategy<Value = LinkCipher> {
    prop_oneof![Just(LinkCipher::AesGcm), Just(LinkCipher::ChaChaPoly)]
}

fn tickets() -> impl Strategy<Value = Ticket> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), node_ids(), node_ids(), keys());
    (ids, fences(), vec(texts(), 0..3), bytes(), any::<([u8; 16], i64, i64)>()).prop_map(
        |((grid, job, source, destination, source_key), fence, source_addresses, root, rest)| Ticket {
            grid: GridId::from_bytes(grid),
            fence,
            job: JobId::from_bytes(job),
            source,
            source_key,
            source_addresses,
            destination,
            root,
            verb: Verb::Read,
            nonce: rest.0,
            issued_ms: rest.1,
            expires_ms: rest.2,
        },
    )
}

fn link_calls() -> impl Strategy<Value = LinkCall> {
    let leases = || any::<[u8; 16]>().prop_map(LeaseId::from_bytes);
    let links = || any::<[u8; 16]>().prop_map(LinkId::from_bytes);
    let signed = (bytes(), bytes(), vec(any::<u8>(), 64)).prop_map(|(ticket, certificate, signature)| {
        let signature = signature.try_into().expect("64 of them");
        Box::new(SignedTicket { ticket, certificate, signature })
    });
    prop_oneof![
        node_ids().prop_map(|to| LinkCall::Through { to }),
        node_ids().prop_map(|asker| LinkCall::For { asker }),
        (signed, bytes(), ciphers()).prop_map(|(ticket, certificate, cipher)| LinkCall::Present {
            ticket,
            certificate,
            cipher
        }),
        (leases(), ciphers()).prop_map(|(lease, cipher)| LinkCall::More { lease, cipher }),
        (links(), vec(texts(), 0..3)).prop_map(|(link, addresses)| LinkCall::DialMe { link, addresses }),
        links().prop_map(|link| LinkCall::Carry { link }),
        leases().prop_map(|lease| LinkCall::Release { lease }),
    ]
}

fn link_answers() -> impl Strategy<Value = LinkAnswer> {
    let offers = (any::<([u8; 16], [u8; 16], [u8; 32])>(), ciphers(), vec(texts(), 0..3)).prop_map(
        |((lease, link, secret), cipher, addresses)| LinkOffer {
            lease: LeaseId::from_bytes(lease),
            link: LinkId::from_bytes(link),
            secret,
            cipher,
            addresses,
        },
    );
    prop_oneof![
        offers.prop_map(LinkAnswer::Offer),
        texts().prop_map(|address| LinkAnswer::Dialled { address }),
        texts().prop_map(|reason| LinkAnswer::NotDialled { reason }),
        Just(LinkAnswer::Carrying),
        Just(LinkAnswer::Released),
        refusals().prop_map(LinkAnswer::Refused),
    ]
}

fn hellos() -> impl Strategy<Value = Hello> {
    let grids = option::of(any::<[u8; 16]>().prop_map(GridId::from_bytes));
    (any::<u32>(), grids, fences(), bytes(), octets(), any::<bool>(), any::<i64>()).prop_map(
        |(protocol, grid, fence, certificate, anchors, is_nucleus, now_ms)| Hello {
            protocol,
            grid,
            fence,
            certificate,
            anchors,
            is_nucleus,
            now_ms,
        },
    )
}

fn enrols() -> impl Strategy<Value = Enrol> {
    (any::<[u8; 6]>(), bytes(), bytes(), texts()).prop_map(|(token, secret, request, name)| Enrol {
        token: TokenId::from_bytes(token),
        secret,
        request,
        name,
    })
}

fn nuclei() -> impl Strategy<Value = Vec<NucleusAddress>> {
    let nucleus = (node_ids(), keys(), vec(texts(), 0..3))
        .prop_map(|(node, key, addresses)| NucleusAddress { node, key, addresses });
    vec(nucleus, 0..3)
}

fn enrolled() -> impl Strategy<Value = Box<Enrolled>> {
    let names = (any::<[u8; 16]>(), texts(), node_ids(), texts());
    (names, bytes(), octets(), nuclei(), fences()).prop_map(|(names, certificate, anchors, nuclei, fence)| {
        let (grid, grid_name, node, name) = names;
        let grid = GridId::from_bytes(grid);
        Box::new(Enrolled { grid, grid_name, node, name, certificate, anchors, nuclei, fence })
    })
}

fn join_requests() -> impl Strategy<Value = JoinRequest> {
    prop_oneof![
        hellos().prop_map(JoinRequest::Hello),
        enrols().prop_map(JoinRequest::Enrol),
        bytes().prop_map(|request| JoinRequest::ReEnrol { request }),
        Just(JoinRequest::Nuclei),
    ]
}

fn join_replies() -> impl Strategy<Value = JoinReply> {
    prop_oneof![
        hellos().prop_map(JoinReply::Hello),
        enrolled().prop_map(JoinReply::Enrolled),
        nuclei().prop_map(JoinReply::Nuclei),
        refusals().prop_map(JoinReply::Refused),
    ]
}

fn control_requests() -> impl Strategy<Value = ControlRequest> {
    bytes().prop_map(|request| ControlRequest::Renew { request })
}

fn control_replies() -> impl Strategy<Value = ControlReply> {
    prop_oneof![
        (bytes(), octets()).prop_map(|(certificate, anchors)| ControlReply::Renewed { certificate, anchors }),
        refusals().prop_map(ControlReply::Refused),
    ]
}

fn profiles() -> impl Strategy<Value = Profile> {
    let disks = prop::sample::select(vec![DiskClass::Good, DiskClass::Slow, DiskClass::Unfit]);
    (texts(), texts(), vec(texts(), 0..3), vec(texts(), 0..3), disks).prop_map(
        |(version, platform, allowed_paths, addresses, disk)| Profile {
            version,
            platform,
            allowed_paths,
            addresses,
            disk,
        },
    )
}

fn loads() -> impl Strategy<Value = Load> {
    let disks = vec((texts(), any::<u64>(), any::<u64>()), 0..3);
    (any::<(u16, u16)>(), any::<(u64, u64, u64)>(), disks, any::<(u32, u32)>()).prop_map(
        |((cpu_permille, cores), (memory_total, memory_available, memory_own), disks, running)| Load {
            cpu_permille,
            cores,
            memory_total,
            memory_available,
            memory_own,
            disks: disks.into_iter().map(|(path, total, free)| Disk { path, total, free }).collect(),
            calls_running: running.0,
            jobs_running: running.1,
        },
    )
}

fn meterings() -> impl Strategy<Value = Metering> {
    (any::<i64>(), any::<[u64; 6]>()).prop_map(|(since_ms, counters)| {
        let [calls, refused, entries_scanned, bytes_hashed, bytes_sent, bytes_received] = counters;
        Metering { since_ms, calls, refused, entries_scanned, bytes_hashed, bytes_sent, bytes_received }
    })
}

fn pulses() -> impl Strategy<Value = Pulse> {
    let serials = option::of(any::<[u8; 16]>().prop_map(Serial::from_bytes));
    (any::<(u64, i64, u32)>(), loads(), meterings(), option::of(profiles()), serials).prop_map(
        |((seq, now_ms, rtt_us), load, metering, profile, serial)| Pulse {
            seq,
            now_ms,
            rtt_us,
            load,
            metering,
            profile,
            serial,
        },
    )
}

fn pulse_replies() -> impl Strategy<Value = PulseReply> {
    let revoked = vec(any::<[u8; 16]>().prop_map(Serial::from_bytes), 0..3);
    let updates = (texts(), any::<(bool, bool)>(), octets(), revoked, nuclei()).prop_map(
        |(name, (is_draining, renew), anchors, revoked, nuclei)| {
            Box::new(Update { name, is_draining, anchors, revoked, nuclei, renew })
        },
    );
    (any::<Option<u64>>(), fences(), any::<i64>(), option::of(updates))
        .prop_map(|(seq, fence, now_ms, update)| PulseReply { seq, fence, now_ms, update })
}

fn raft_hellos() -> impl Strategy<Value = RaftHello> {
    let lanes = prop_oneof![Just(Lane::Quick), Just(Lane::Bulk)];
    (any::<u16>(), any::<[u8; 16]>(), any::<u32>(), node_ids(), lanes).prop_map(
        |(version, grid, epoch, from, lane)| {
            let grid = GridId::from_bytes(grid);
            RaftHello { version, grid, epoch, from, lane }
        },
    )
}

fn raft_welcomes() -> impl Strategy<Value = RaftWelcome> {
    prop_oneof![
        any::<(u32, bool)>().prop_map(|(epoch, has_seal_key)| RaftWelcome::Welcome { epoch, has_seal_key }),
        refusals().prop_map(RaftWelcome::Refused),
    ]
}

pub(super) fn raft_frames() -> impl Strategy<Value = RaftFrame> {
    let kinds = prop::sample::select(vec![
        RaftFrameKind::Call,
        RaftFrameKind::Answer,
        RaftFrameKind::SealKey,
        RaftFrameKind::SealKeyKept,
    ]);
    (any::<u64>(), kinds, bytes()).prop_map(|(id, kind, body)| RaftFrame { id, kind, body })
}

fn ranges() -> impl Strategy<Value = ByteRange> {
    (0..u64::MAX / 2, 0..u64::MAX / 2).prop_map(|(offset, len)| ByteRange::new(offset, len).expect("it fits"))
}

fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        (bytes(), any::<bool>(), any::<u16>()).prop_map(|(start, one_file_system, threads)| Call::Scan {
            start,
            one_file_system,
            threads
        }),
        bytes().prop_map(|directory| Call::Prune { directory }),
        Just(Call::Stop),
        bytes().prop_map(|path| Call::List { path }),
        bytes().prop_map(|path| Call::Metadata { path }),
        bytes().prop_map(|path| Call::ReadLink { path }),
        bytes().prop_map(|path| Call::Xattrs { path }),
        (bytes(), any::<u32>()).prop_map(|(path, len)| Call::ReadHeader { path, len }),
        (bytes(), ranges()).prop_map(|(path, range)| Call::HashRange { path, range }),
        (bytes(), any::<bool>()).prop_map(|(path, with_chunks)| Call::Chunk { path, with_chunks }),
        bytes().prop_map(|path| Call::Open { path }),
        Just(Call::FileMetadata),
        any::<(u64, u32)>().prop_map(|(offset, len)| Call::Read { offset, len }),
        any::<u64>().prop_map(|offset| Call::NextData { offset }),
        Just(Call::FileXattrs),
        (any::<Option<u64>>(), bytes()).prop_map(|(unless, after)| Call::Contents { unless, after }),
        vec(any::<[u8; 32]>(), 0..4).prop_map(|roots| Call::Manifests { roots }),
        ranges().prop_map(|range| Call::Stream { range }),
        (octets(), any::<bool>()).prop_map(|(paths, with_xattrs)| Call::Fetch { paths, with_xattrs }),
        Just(Call::Sketch),
        bytes().prop_map(|wanted| Call::Want { wanted }),
        (bytes(), any::<bool>(), any::<u16>()).prop_map(|(start, one_file_system, threads)| {
            Call::ScanKnown { start, one_file_system, threads }
        }),
        bytes().prop_map(|spans| Call::Cells { spans }),
        bytes().prop_map(|spans| Call::Pick { spans }),
        bytes().prop_map(|spans| Call::Again { spans }),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let times = || any::<(i64, u32)>().prop_map(Timestamp::from);
    (0..7_u8, any::<[u32; 4]>(), times(), times(), any::<[u64; 5]>()).prop_map(
        |(kind, [mode, uid, gid, links], mtime, ctime, [size, allocated, dev, ino, rdev])| Metadata {
            kind: EntryKind::try_from(kind).expect("a kind"),
            size,
            allocated,
            attributes: Attributes { mode, uid, gid, mtime },
            ctime,
            dev,
            ino,
            links,
            rdev,
        },
    )
}

fn system_errors() -> impl Strategy<Value = WireSystemError> {
    let io = (texts(), any::<u8>(), any::<Option<u16>>(), texts())
        .prop_map(|(operation, kind, errno, message)| WireFault::Io { operation, kind, errno, message });
    let faults = prop_oneof![
        io,
        Just(WireFault::Escapes),
        texts().prop_map(|wanted| WireFault::WrongKind { wanted }),
        Just(WireFault::Changed),
        Just(WireFault::Corrupt),
        Just(WireFault::Occupied),
    ];
    (bytes(), faults).prop_map(|(path, fault)| WireSystemError { path, fault })
}

fn hashes() -> impl Strategy<Value = ContentHash> {
    any::<[u8; 32]>().prop_map(ContentHash::from_bytes)
}

fn cargoes() -> impl Strategy<Value = Cargo> {
    any::<(u32, u32)>().prop_map(|(wire, bytes)| Cargo { wire, bytes })
}

fn bundled() -> impl Strategy<Value = Bundled> {
    let octets = || bytes().prop_map(Octets);
    (octets(), octets(), octets(), any::<(i64, u32)>(), any::<bool>())
        .prop_map(|(path, name, hash, time, is_open)| Bundled(path, name, hash, time.into(), is_open))
}

fn found() -> impl Strategy<Value = Found> {
    let xattrs = || vec((bytes().prop_map(Octets), bytes().prop_map(Octets)), 0..3);
    prop_oneof![
        (metadata(), xattrs(), any::<u32>(), hashes())
            .prop_map(|(m, x, len, hash)| Found::File(m, x, len, hash)),
        Just(Found::Large),
        (metadata(), xattrs(), bytes()).prop_map(|(m, x, text)| Found::Symlink(m, x, Octets(text))),
        (metadata(), xattrs()).prop_map(|(m, x)| Found::Other(m, x)),
        system_errors().prop_map(Found::Failed),
    ]
}

fn replies() -> impl Strategy<Value = Reply> {
    let chunks = vec((hashes(), any::<u32>()).prop_map(|(hash, len)| Chunk { hash, len }), 0..5);
    let xattrs = vec((bytes().prop_map(Octets), bytes().prop_map(Octets)), 0..3);
    prop_oneof![
        (bytes(), texts(), octets()).prop_map(|(start, node, ways)| Reply::Opened(Opened {
            start,
            node,
            ways
        })),
        refusals().prop_map(Reply::Refused),
        system_errors().prop_map(Reply::Failed),
        bytes().prop_map(Reply::Listings),
        (bytes(), system_errors()).prop_map(|(directory, error)| Reply::ScanFault { directory, error }),
        Just(Reply::Done),
        metadata().prop_map(Reply::Metadata),
        bytes().prop_map(Reply::Bytes),
        hashes().prop_map(Reply::Hash),
        chunks.prop_map(Reply::Chunks),
        xattrs.prop_map(Reply::Xattrs),
        option::of(ranges()).prop_map(Reply::Range),
        contents_pages().prop_map(Reply::Contents),
        hashes().prop_map(Reply::Manifest),
        Just(Reply::BundleEnd),
        vec(bundled(), 0..4).prop_map(Reply::Bundles),
        (cargoes(), hashes()).prop_map(|(cargo, hash)| Reply::Piece(Piece { cargo, hash })),
        (cargoes(), vec(found(), 0..4)).prop_map(|(cargo, found)| Reply::Parcel(Parcel { cargo, found })),
    ]
}

fn contents_pages() -> impl Strategy<Value = ContentsPage> {
    let content = (hashes(), any::<u64>(), any::<u32>());
    let contents = vec(content.prop_map(|(root, bytes, chunks)| Content { root, bytes, chunks }), 0..4);
    (any::<u64>(), contents, bytes()).prop_map(|(state, contents, next)| ContentsPage {
        state,
        contents,
        next,
    })
}
