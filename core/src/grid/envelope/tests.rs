use super::*;
use crate::grid::job::{JobAct, JobCommand};
use crate::ids::{JobId, NodeId};

fn forget() -> Command {
    Command::ForgetContents { holder: NodeId::from_bytes([7; 16]) }
}

#[test]
fn what_a_newer_program_wrote_is_not_taken_for_damage() {
    #[derive(Serialize)]
    struct Later {
        version: u16,
        request: Option<RequestId>,
        command: Vec<String>,
        more: bool,
    }
    let later = |version| wire::encode(&Later { version, request: None, command: Vec::new(), more: true });
    let read = |bytes: &[u8]| Envelope::decode(bytes).expect_err("not of this version");
    assert!(matches!(read(&later(3)), EnvelopeError::Newer { theirs: 3, ours: 2 }));
    assert!(matches!(read(&later(2)), EnvelopeError::Unreadable(_)));
    assert!(matches!(read(&later(1)), EnvelopeError::Unreadable(_)));
    let same_shape = Envelope { version: 3, ..Envelope::new(None, forget()) };
    assert!(matches!(read(&same_shape.encode()), EnvelopeError::Newer { theirs: 3, .. }));
    let mut cut = Envelope::new(None, forget()).encode();
    cut.pop();
    assert!(matches!(read(&cut), EnvelopeError::Unreadable(WireError::CutOff)));
    assert!(matches!(read(&vec![0; ENVELOPE_BYTES_MAX + 1]), EnvelopeError::Unreadable(_)));
}

#[test]
fn an_older_program_is_kept_out_only_by_what_it_does_not_know() {
    assert_eq!(Envelope::new(None, forget()).version, 1);
    let command = JobCommand { job: JobId::from_bytes([1; 16]), now_ms: 1, act: JobAct::Approve };
    assert_eq!(Envelope::new(None, Command::Job(command)).version, Envelope::VERSION);
}

#[test]
fn a_record_from_before_there_were_votes_is_read() {
    #[derive(Serialize)]
    enum Old {
        Describe { node: NodeId, profile: OldProfile },
    }
    #[derive(Serialize)]
    struct OldProfile {
        version: String,
        platform: String,
        allowed_paths: Vec<String>,
        addresses: Vec<String>,
    }
    let node = NodeId::from_bytes([7; 16]);
    let (version, platform) = ("0.1.0".to_owned(), "linux".to_owned());
    let profile = OldProfile { version, platform, allowed_paths: Vec::new(), addresses: Vec::new() };
    let read: Command =
        wire::decode(&wire::encode(&Old::Describe { node, profile })).expect("it may lack what is new");
    let Command::Describe { profile, .. } = read else { unreachable!("it was that") };
    assert_eq!(profile.disk, crate::grid::DiskClass::Unknown);
}
