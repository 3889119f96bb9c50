//! Tests of the key and its file.

use super::*;
use proptest::prelude::*;
use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn a_key_file_comes_back_and_is_its_owners_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.key");
    let key = NodeKey::create(&path).expect("it is new");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(NodeKey::load(&path).expect("it was just made").key(), key.key());
}

#[test]
fn a_key_is_never_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.key");
    let key = NodeKey::create(&path).expect("it is new");
    assert!(matches!(NodeKey::create(&path), Err(KeyError::Exists { .. })));
    assert_eq!(NodeKey::load(&path).expect("it is as it was").key(), key.key());
    // Nor is what a link points to, even if nothing is there yet.
    let link = directory.path().join("link");
    let target = directory.path().join("elsewhere");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    assert!(matches!(NodeKey::create(&link), Err(KeyError::Exists { .. })));
    assert!(!target.exists());
}

#[test]
fn a_key_that_others_have_rights_on_is_refused_and_the_message_says_what_to_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.key");
    NodeKey::create(&path).expect("it is new");
    for bits in [0o640, 0o604, 0o610, 0o601, 0o620, 0o602, 0o660, 0o644, 0o666, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("it is ours");
        let error = NodeKey::load(&path).expect_err("others have rights");
        assert!(matches!(error, KeyError::Exposed { mode, .. } if mode == bits), "{error}");
        assert!(error.to_string().ends_with(&format!("Run: chmod 600 {}", path.display())), "{error}");
    }
    for bits in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("it is ours");
        NodeKey::load(&path).expect("others have no rights");
    }
}

#[test]
fn what_is_no_key_file_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.key");
    assert!(matches!(NodeKey::load(&path), Err(KeyError::Read { .. })));
    assert!(matches!(NodeKey::load(directory.path()), Err(KeyError::NotAFile { .. })));
    assert!(matches!(NodeKey::create(&directory.path().join("no/such")), Err(KeyError::Write { .. })));
    let good = NodeKey::generate().secret().to_pem();
    let contents = [
        (String::new(), NotAKey::NotPem),
        (good[..60].to_owned(), NotAKey::NotPem),
        (format!("{}{}", *good, *good), NotAKey::NotEd25519),
        ("x".repeat(4096), NotAKey::NotPem),
        ("\n".repeat(1 << 20), NotAKey::NotPem),
        (good.replace("MC4C", "MC4D"), NotAKey::NotEd25519),
        (good.replace("MC4C", "!!!!"), NotAKey::NotPem),
        (good.replace("PRIVATE", "PUBLIC"), NotAKey::NotPem),
    ];
    for (text, fault) in contents {
        let _ = fs::remove_file(&path);
        file::create(&path, &text).expect("it is new");
        let error = NodeKey::load(&path).expect_err("it is no key");
        assert!(error.to_string().contains(path.to_str().expect("UTF-8")), "{error}");
        let source = error.source().and_then(|source| source.downcast_ref::<NotAKey>());
        assert_eq!(source, Some(&fault), "{text:.80}");
    }
    fs::write(&path, [0xff; 100]).expect("it is ours");
    assert!(matches!(NodeKey::load(&path), Err(KeyError::NotAKey { .. })));
}

#[test]
fn white_space_around_a_key_does_not_matter() {
    let key = NodeKey::generate();
    let text = format!("\r\n  {}  \n\n", key.secret().to_pem().replace('\n', "\r\n"));
    assert_eq!(NodeKey::from_pem(&text).expect("only white space was added").key(), key.key());
}

#[test]
fn nothing_secret_is_printed() {
    let key = NodeKey::generate();
    let printed = format!("{key:?} {key:#?}");
    assert!(printed.contains(&key.key().to_string()));
    for bytes in key.secret().seed.windows(4) {
        let hex = data_encoding::HEXLOWER.encode(bytes);
        assert!(!printed.contains(&hex) || key.key().to_string().contains(&hex), "{printed}");
    }
}

#[test]
fn a_key_is_the_same_to_ring_and_to_libp2p() {
    let key = NodeKey::generate();
    let pair = key.keypair();
    assert_eq!(peer_id_of(&key.key()), Some(key.peer_id()));
    assert_eq!(key_of(&key.peer_id()), Some(key.key()));
    let signature = key.secret().sign(b"orbit");
    assert!(pair.public().verify(b"orbit", &signature));
    assert!(!pair.public().verify(b"Orbit", &signature));
}

#[test]
fn an_id_of_another_kind_of_key_is_no_key_of_ours() {
    // A hash instead of a key, and random bytes.
    let hashed = PeerId::from_bytes(&[[0x12, 0x20].as_slice(), &[7; 32]].concat()).expect("a hash is an id");
    assert_eq!(key_of(&hashed), None);
    assert_eq!(key_of(&PeerId::random()), None);
}

#[test]
fn hashes_are_sha256() {
    // FIPS 180-2, appendix B.1.
    assert_eq!(sha256(b"abc")[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
}

#[test]
fn random_bytes_differ() {
    assert_ne!(random::<32>(), random::<32>());
    assert_eq!(random::<0>(), [0; 0]);
}

proptest! {
    #[test]
    fn a_seed_comes_back(seed: [u8; 32]) {
        let secret = Secret::from_seed(Zeroizing::new(seed));
        let again = Secret::from_pem(&secret.to_pem()).expect("it was just written");
        prop_assert_eq!(*again.seed, seed);
        prop_assert_eq!(again.key(), secret.key());
    }

    #[test]
    fn any_text_is_a_key_or_refused(text in "\\PC{0,200}", at in 0_usize..119, byte: u8) {
        let _ = NodeKey::from_pem(&text);
        let mut bytes = Secret::generate().to_pem().as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = NodeKey::from_pem(&text);
        }
    }

    #[test]
    fn any_key_has_one_id_or_none(bytes: [u8; 32]) {
        let key = PeerKey::from_bytes(bytes);
        if let Some(peer) = peer_id_of(&key) {
            prop_assert_eq!(key_of(&peer), Some(key));
        }
    }
}
