//! What was sealed comes back, under the same key, for the same purpose, unchanged, and in no other case.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

const QUICK: Stretch = Stretch { salt: [7; 16], memory_kib: 64, passes: 1, lanes: 1 };

#[test]
fn a_secret_comes_back_for_its_purpose_only() {
    let key = SealKey::generate();
    for secret in [&b""[..], b"x", &[5; 5000]] {
        let sealed = key.seal("authority", secret);
        assert_eq!(sealed.len(), secret.len() + SEALED_BYTES_MORE);
        assert_eq!(key.unseal("authority", &sealed).expect("unseals").as_slice(), secret);
        assert!(matches!(key.unseal("backup", &sealed), Err(SealError::Wrong)));
        assert!(matches!(SealKey::generate().unseal("authority", &sealed), Err(SealError::Wrong)));
        assert_ne!(key.seal("authority", secret), sealed, "a nonce is never used twice");
    }
}

#[test]
fn whatever_is_changed_or_cut_off_is_noticed() {
    let key = SealKey::generate();
    let sealed = key.seal("authority", b"a secret");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(key.unseal("authority", &changed).is_err(), "byte {at}");
        assert!(key.unseal("authority", &sealed[..at]).is_err(), "{at} bytes");
    }
}

#[test]
fn a_passphrase_makes_one_key() {
    let key = |passphrase, stretch| SealKey::from_passphrase(passphrase, stretch).expect("stretches");
    let sealed = key("correct horse", &QUICK).seal("backup", b"a secret");
    assert!(key("correct horse", &QUICK).unseal("backup", &sealed).is_ok());
    assert!(key("correct house", &QUICK).unseal("backup", &sealed).is_err());
    assert!(key("correct horse", &Stretch { salt: [8; 16], ..QUICK }).unseal("backup", &sealed).is_err());
    assert!(key("correct horse", &Stretch { passes: 2, ..QUICK }).unseal("backup", &sealed).is_err());
}

#[test]
fn argon2id_as_others_compute_it() {
    // echo -n password | argon2 somesaltsomesalt -id -t 2 -k 64 -p 1 -l 32
    let stretch = Stretch { salt: *b"somesaltsomesalt", memory_kib: 64, passes: 2, lanes: 1 };
    let key = SealKey::from_passphrase("password", &stretch).expect("stretches");
    assert_eq!(HEXLOWER_PERMISSIVE.encode(key.as_bytes()), REFERENCE);
}

/// By the reference implementation, version 1.3.
const REFERENCE: &str = "1a98fba8e6394425c9bdc333a9c750aaf811df070f5fb4a5788e1cf4db5793a1";

#[test]
fn what_a_foreign_file_may_ask_is_bounded() {
    for stretch in [
        Stretch { memory_kib: u32::MAX, ..QUICK },
        Stretch { passes: u32::MAX, ..QUICK },
        Stretch { lanes: u32::MAX, ..QUICK },
        Stretch { memory_kib: 0, ..QUICK },
        Stretch { passes: 0, ..QUICK },
        Stretch { lanes: 0, ..QUICK },
    ] {
        assert!(
            matches!(SealKey::from_passphrase("x", &stretch), Err(SealError::Stretch { .. })),
            "{stretch:?}"
        );
    }
}

#[test]
fn a_key_file_is_its_owners_alone() {
    let place = tempfile::tempdir().expect("makes a directory");
    let path = place.path().join("seal.key");
    let key = SealKey::generate();
    key.create(&path).expect("writes");
    assert_eq!(SealKey::load(&path).expect("reads").as_bytes(), key.as_bytes());
    assert!(matches!(key.create(&path), Err(SealError::File(KeyError::Exists { .. }))), "never overwritten");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("sets the mode");
    assert!(matches!(SealKey::load(&path), Err(SealError::File(KeyError::Exposed { .. }))));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets the mode");
    std::fs::write(&path, "00ff").expect("writes");
    assert!(matches!(SealKey::load(&path), Err(SealError::NotAKey { .. })));
    assert_eq!(format!("{key:?}"), "SealKey");
}
