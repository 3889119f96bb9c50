//! What was written is read back whole, or it is told what is wrong with it.

use super::*;
use orbit_store::Mark;
use orbit_store::PART_BYTES;

#[derive(Debug)]
struct Parts {
    manifest: SnapshotManifest,
    bytes: Vec<u8>,
}

impl Snapshot for Parts {
    fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    fn read_part(&self, number: u32) -> Result<Vec<u8>, StoreError> {
        let part = self.bytes.chunks(PART_BYTES as usize).nth(number as usize);
        Ok(part.expect("only parts that there are").to_vec())
    }
}

fn snapshot(len: usize) -> Parts {
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let hashes = bytes.chunks(PART_BYTES as usize).map(|part| *orbit_cdc::hash_bytes(part).as_bytes());
    let manifest = SnapshotManifest { mark: Mark::default(), bytes: len as u64, parts: hashes.collect() };
    Parts { manifest, bytes }
}

const QUICK: Stretch = Stretch { salt: [1; 16], memory_kib: 64, passes: 1, lanes: 1 };

fn header(manifest: SnapshotManifest, secrets: Secrets) -> Header {
    Header {
        grid: GridId::from_bytes([1; 16]),
        grid_name: "home".into(),
        epoch: 1,
        made_ms: 5,
        made_by: "nas1".into(),
        tally: Tally { nodes: 3, ..Tally::default() },
        secrets,
        manifest,
    }
}

fn under_passphrase(seal_key: &SealKey, passphrase: &str) -> Secrets {
    let key = SealKey::from_passphrase(passphrase, &QUICK).expect("stretches");
    Secrets::Passphrase { stretch: QUICK, seal_key: key.seal(SEAL_KEY, seal_key.as_bytes()) }
}

fn backup(len: usize) -> Vec<u8> {
    let snapshot = snapshot(len);
    let header = header(snapshot.manifest.clone(), under_passphrase(&SealKey::from_bytes([9; 32]), "horse"));
    let pieces: Result<Vec<Vec<u8>>, BackupError> = Pieces::new(header, Arc::new(snapshot)).collect();
    pieces.expect("reads the snapshot").concat()
}

fn read(bytes: &[u8]) -> Result<Header, BackupError> {
    Reader::new(Path::new("backup"), bytes)?.finish()
}

#[test]
fn a_backup_comes_back() {
    for len in [0, 1, PART_BYTES as usize, 2 * PART_BYTES as usize + 77] {
        let bytes = backup(len);
        let mut reader = Reader::new(Path::new("backup"), bytes.as_slice()).expect("reads the header");
        let mut parts = Vec::new();
        while let Some(part) = reader.next_part().expect("reads a part") {
            parts.extend(part);
        }
        assert_eq!(parts, snapshot(len).bytes);
        assert_eq!(reader.finish().expect("is whole").tally.nodes, 3);
    }
}

#[test]
fn what_is_damaged_or_cut_off_is_told() {
    let whole = backup(3_000);
    for at in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        assert!(read(&changed).is_err(), "byte {at}");
        assert!(read(&whole[..at]).is_err(), "{at} bytes");
    }
    assert!(matches!(read(&[whole, vec![0]].concat()), Err(BackupError::Damaged { .. })));
    assert!(matches!(read(b""), Err(BackupError::NoBackup { .. })));
    assert!(matches!(read(b"something else entirely"), Err(BackupError::NoBackup { .. })));
    let endless = [MAGIC.as_slice(), &u32::MAX.to_le_bytes()].concat();
    assert!(matches!(read(&endless), Err(BackupError::Damaged { .. })));
}

#[test]
fn secrets_open_for_whom_they_are() {
    let path = Path::new("backup");
    let (seal_key, other) = (SealKey::generate(), SealKey::generate());
    let sealed = header(snapshot(1).manifest, under_passphrase(&seal_key, "horse"));
    let opened = sealed.open_with_passphrase(path, "horse").expect("opens");
    assert_eq!(opened.as_bytes(), seal_key.as_bytes());
    assert!(matches!(sealed.open_with_passphrase(path, "house"), Err(BackupError::Passphrase { .. })));
    let proof = Secrets::Grid { proof: seal_key.seal(PROOF, &[1; 16]) };
    let nightly = header(snapshot(1).manifest, proof);
    assert!(nightly.check_seal_key(path, &seal_key).is_ok());
    assert!(matches!(nightly.check_seal_key(path, &other), Err(BackupError::OtherSealKey { .. })));
    let foreign = Header { grid: GridId::from_bytes([2; 16]), ..nightly };
    assert!(matches!(foreign.check_seal_key(path, &seal_key), Err(BackupError::OtherSealKey { .. })));
}

#[test]
fn a_file_has_its_name_only_when_it_is_whole() {
    let place = tempfile::tempdir().expect("makes a directory");
    let path = place.path().join("grid.orbit-backup");
    let files = || std::fs::read_dir(place.path()).expect("lists").count();
    std::fs::write(&path, "an older one").expect("writes");
    let mut staged = Staged::create(&path).expect("begins");
    staged.write_all(&backup(5_000)[..4_000]).expect("writes");
    assert!(staged.keep().is_err(), "half of one is not kept");
    assert_eq!(std::fs::read(&path).expect("reads"), b"an older one");
    assert_eq!(files(), 1);
    let mut staged = Staged::create(&path).expect("begins");
    staged.write_all(&backup(5_000)).expect("writes");
    staged.keep().expect("keeps");
    assert_eq!(std::fs::read(&path).expect("reads"), backup_of_file(&path));
    assert!(Reader::open(&path).expect("opens").finish().is_ok());
    assert_eq!(files(), 1);
}

/// The nonce of a backup differs each time, so the file is compared with what it says itself.
fn backup_of_file(path: &Path) -> Vec<u8> {
    let header = Reader::open(path).expect("opens").header().clone();
    let pieces: Result<Vec<Vec<u8>>, BackupError> = Pieces::new(header, Arc::new(snapshot(5_000))).collect();
    pieces.expect("reads the snapshot").concat()
}
