//! Another implementation reads what we make, and we read what it makes.

use super::fixture::{Member, NOW, authority, der};
use crate::key::NodeKey;
use crate::pki::{Authority, SigningRequest};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Runs `openssl`; none, and a word on standard error, if there is none.
fn openssl_or_skips(arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new("openssl").args(arguments).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            writeln!(
                std::io::stderr(),
                "SKIPPED: openssl reads our certificates: cannot run openssl: {error}"
            )
            .expect("standard error is open");
            None
        }
    }
}

fn pem(path: &Path, label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    std::fs::write(path, format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
        .expect("the directory is ours");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn openssl_verifies_members_across_a_rotation() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let (old, new): (Authority, Authority) = (authority(), authority());
    let cross = old.cross_sign(new.certificate()).expect("the same grid");
    let root = pem(&at("old.pem"), "CERTIFICATE", &der(&old));
    let cross = pem(&at("cross.pem"), "CERTIFICATE", &cross);
    let early = pem(&at("early.pem"), "CERTIFICATE", &Member::of(&old).der);
    let late = pem(&at("late.pem"), "CERTIFICATE", &Member::of(&new).der);
    let now = (NOW / 1000).to_string();
    let common = ["verify", "-x509_strict", "-check_ss_sig", "-attime", &now, "-CAfile", &root];
    let verify = |more: &[&str]| openssl_or_skips(&[&common, more].concat());
    let Some(direct) = verify(&[&early]) else { return };
    assert!(direct.0, "{}", direct.1);
    for purpose in ["sslserver", "sslclient"] {
        let (ok, said) =
            verify(&["-purpose", purpose, "-untrusted", &cross, &late]).expect("openssl ran a moment ago");
        assert!(ok, "{said}");
    }
    let (ok, said) = verify(&[&late]).expect("openssl ran a moment ago");
    assert!(!ok, "nothing leads from the old authority to it: {said}");
}

#[test]
fn openssl_reads_requests_and_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.key");
    let key = NodeKey::create(&path).expect("it is new");
    let request = SigningRequest::create(&key).expect("a key can ask");
    let request = pem(&directory.path().join("request.pem"), "CERTIFICATE REQUEST", &request);
    let Some((ok, said)) = openssl_or_skips(&["req", "-verify", "-noout", "-text", "-in", &request]) else {
        return;
    };
    assert!(ok && said.contains("ED25519"), "{said}");
    let text = ["pkey", "-noout", "-text", "-in", path.to_str().expect("UTF-8")];
    let (ok, said) = openssl_or_skips(&text).expect("openssl ran a moment ago");
    // openssl prints bytes with colons between them, and some to a line.
    let said: String = said.chars().filter(char::is_ascii_hexdigit).collect();
    let public = data_encoding::HEXLOWER.encode(key.key().as_bytes());
    assert!(ok && said.contains(&public), "the public key is not in what openssl prints");
}

#[test]
fn a_key_and_a_request_of_openssl_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.key");
    let name = path.to_str().expect("UTF-8");
    let Some((ok, said)) = openssl_or_skips(&["genpkey", "-algorithm", "ed25519", "-out", name]) else {
        return;
    };
    assert!(ok, "{said}");
    let key = NodeKey::load(&path).expect("openssl makes key files that others cannot read");
    let request = directory.path().join("request.der");
    let arguments = ["req", "-new", "-key", name, "-subj", "/CN=nas1", "-outform", "DER", "-out"];
    let (ok, said) = openssl_or_skips(&[arguments.as_slice(), &[request.to_str().expect("UTF-8")]].concat())
        .expect("openssl ran a moment ago");
    assert!(ok, "{said}");
    let request = std::fs::read(request).expect("openssl wrote it");
    assert_eq!(SigningRequest::parse(&request).expect("it is in order").key(), key.key());
}
