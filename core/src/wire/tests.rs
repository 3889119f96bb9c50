//! Every message comes back as it was sent, and no bytes do harm.

mod messages;

use super::*;
use messages::Message;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn comes_back<T: Serialize + DeserializeOwned + Debug>(message: &T) {
    let bytes = encode(message);
    let back: T = decode_max(&bytes, bytes.len()).expect("it was encoded");
    assert_eq!(format!("{back:?}"), format!("{message:?}"));
    assert_eq!(encode(&back), bytes, "what Debug does not show");
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(decode::<T>(&longer), Err(WireError::Trailing { count: 1 })));
    assert!(matches!(decode_max::<T>(&bytes, bytes.len() - 1), Err(WireError::TooLarge { .. })));
    assert!(decode::<T>(&bytes[..bytes.len() - 1]).is_err(), "cut off");
}

fn decode_as_anything(bytes: &[u8]) {
    let _ = decode::<join::JoinRequest>(bytes);
    let _ = decode::<join::JoinReply>(bytes);
    let _ = decode::<control::ControlRequest>(bytes);
    let _ = decode::<control::ControlReply>(bytes);
    let _ = decode::<link::LinkCall>(bytes);
    let _ = decode::<link::LinkAnswer>(bytes);
    let _ = decode::<crate::grid::Ticket>(bytes);
    let _ = decode::<pulse::Pulse>(bytes);
    let _ = decode::<pulse::PulseReply>(bytes);
    let _ = decode::<raft::RaftHello>(bytes);
    let _ = decode::<raft::RaftWelcome>(bytes);
    let _ = decode::<raft::SealKey>(bytes);
    let _ = raft::RaftFrame::decode(bytes.to_vec());
    let _ = crate::grid::Envelope::decode(bytes);
    let _ = decode::<system::Opening>(bytes);
    let _ = decode::<system::Call>(bytes);
    let _ = decode::<system::Reply>(bytes);
    let _ = decode::<crate::grid::Change>(bytes);
    let _ = decode::<crate::grid::Command>(bytes);
}

fn encoded(message: &Message) -> Vec<u8> {
    match message {
        Message::JoinRequest(message) => encode(message),
        Message::JoinReply(message) => encode(message),
        Message::ControlRequest(message) => encode(message),
        Message::ControlReply(message) => encode(message),
        Message::LinkCall(message) => encode(message),
        Message::LinkAnswer(message) => encode(message),
        Message::Ticket(message) => encode(message),
        Message::Pulse(message) => encode(message),
        Message::PulseReply(message) => encode(message),
        Message::RaftHello(message) => encode(message),
        Message::RaftWelcome(message) => encode(message),
        Message::SealKey(message) => encode(message),
        Message::Opening(message) => encode(message),
        Message::Call(message) => encode(message),
        Message::Reply(message) => encode(message),
    }
}

#[test]
fn unknown_fields_are_refused() {
    #[derive(Serialize)]
    struct Wider {
        fence: crate::grid::Fence,
        #[serde(with = "bytes")]
        path: Vec<u8>,
        browse: bool,
        more: bool,
    }
    let wider = Wider { fence: crate::grid::Fence::default(), path: Vec::new(), browse: true, more: true };
    assert!(matches!(decode::<system::Opening>(&encode(&wider)), Err(WireError::Malformed(_))));
}

#[test]
fn bytes_cost_a_byte_each() {
    let reply = system::Reply::Bytes(vec![0xff; 1000]);
    assert!(encode(&reply).len() < 1020);
    let hash = crate::ContentHash::from_bytes([0xff; 32]);
    let chunks = vec![crate::Chunk { hash, len: u32::MAX }; 100];
    assert!(encode(&system::Reply::Chunks(chunks)).len() < 3620);
    assert!(encode(&system::Reply::Hash(hash)).len() < 45);
}

#[test]
fn frames_are_bounded() {
    let frame = codec::encode_frame(&system::Call::Stop);
    let (head, body) = frame.split_first_chunk().expect("a head");
    assert_eq!(codec::frame_len(*head, 100).expect("short"), body.len());
    assert_eq!(decode::<system::Call>(body).expect("it was encoded"), system::Call::Stop);
    assert!(matches!(codec::frame_len([0xff; 4], MESSAGE_BYTES_MAX), Err(WireError::TooLarge { .. })));
}

#[test]
fn raft_frames_are_bounded_and_show_no_key() {
    let frame = |len| raft::RaftFrame { id: 7, kind: raft::RaftFrameKind::Call, body: vec![1; len] };
    let largest = frame(raft::RAFT_BODY_BYTES_MAX).encode().expect("as large as may be");
    let head = *largest.first_chunk().expect("a head");
    assert_eq!(codec::frame_len(head, raft::RAFT_FRAME_BYTES_MAX).expect("allowed"), largest.len() - 4);
    assert!(matches!(frame(raft::RAFT_BODY_BYTES_MAX + 1).encode(), Err(WireError::TooLarge { .. })));
    let unknown_kind = [0, 0, 0, 0, 0, 0, 0, 0, 9];
    assert!(matches!(raft::RaftFrame::decode(unknown_kind.to_vec()), Err(WireError::Item { byte: 9 })));
    assert!(matches!(raft::RaftFrame::decode(unknown_kind[..8].to_vec()), Err(WireError::CutOff)));
    let key = raft::SealKey { key: [201; 32] };
    assert!(!format!("{key:?} {:?}", raft::RaftFrame { body: key.key.to_vec(), ..frame(0) }).contains("201"));
}

proptest! {
    #[test]
    fn every_raft_frame_comes_back(frame in messages::raft_frames()) {
        let bytes = frame.encode().expect("small");
        let (head, rest) = bytes.split_first_chunk().expect("a head");
        prop_assert_eq!(codec::frame_len(*head, raft::RAFT_FRAME_BYTES_MAX).expect("small"), rest.len());
        let back = raft::RaftFrame::decode(rest.to_vec()).expect("it was encoded");
        prop_assert_eq!(back, frame);
    }

    #[test]
    fn every_message_comes_back(message in messages::any_message()) {
        match &message {
            Message::JoinRequest(message) => comes_back(message),
            Message::JoinReply(message) => comes_back(message),
            Message::ControlRequest(message) => comes_back(message),
            Message::ControlReply(message) => comes_back(message),
            Message::LinkCall(message) => comes_back(message),
            Message::LinkAnswer(message) => comes_back(message),
            Message::Ticket(message) => comes_back(message),
            Message::Pulse(message) => comes_back(message),
            Message::PulseReply(message) => comes_back(message),
            Message::RaftHello(message) => comes_back(message),
            Message::RaftWelcome(message) => comes_back(message),
            Message::SealKey(message) => comes_back(message),
            Message::Opening(message) => comes_back(message),
            Message::Call(message) => comes_back(message),
            Message::Reply(message) => comes_back(message),
        }
    }

    #[test]
    fn damaged_messages_do_no_harm(
        message in messages::any_message(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = encoded(&message);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_as_anything(&bytes);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes: Vec<u8>) {
        decode_as_anything(&bytes);
    }
}
