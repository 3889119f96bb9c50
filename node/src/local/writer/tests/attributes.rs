//! Modes, owners, times, access control lists and other extended attributes.

use super::fixture::{MTIME, Tree, change, is_root, open, path, skip, stage};
use orbit_core::system::Xattr;
use orbit_core::writer::{AttributeChange, Disposal, Node, OrbitWriter, Outline, Place, WriteMode};
use rustix::fs::{XattrFlags, fgetxattr, lgetxattr, setxattr};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: value.into() }
}

/// `user::rwx,user:UID:r--,group::r-x,mask::r-x,other::---` as the kernel keeps it.
fn acl(uid: u32) -> Vec<u8> {
    let entries = [(1, 7, u32::MAX), (2, 4, uid), (4, 5, u32::MAX), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(permissions));
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn value(path: &std::path::Path, name: &str) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 256];
    let len = fgetxattr(open(path), name, &mut buffer[..]).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

#[test]
fn mode_owner_and_time_arrive_set_id_bits_included() {
    let tree = Tree::new();
    let writer = tree.writer();
    let file = path("file");
    let mut staged = stage(&writer, Place::Alone(&file), b"#!");
    let mut wanted = change(0o6751);
    if is_root() {
        wanted.set_owner = true;
        (wanted.attributes.uid, wanted.attributes.gid) = (1234, 4321);
    }
    staged.set_attributes(&wanted).expect("set");
    writer.commit(staged.name(), &file, None, Disposal::Discard).expect("committed");
    let found = fs::metadata(tree.at("file")).expect("found");
    assert_eq!(found.mode() & 0o7777, 0o6751);
    assert_eq!((found.mtime(), found.mtime_nsec()), (MTIME.seconds, i64::from(MTIME.nanos)));
    if is_root() {
        assert_eq!((found.uid(), found.gid()), (1234, 4321));
        // The owner alone: the bits it clears come back.
        wanted.attributes.uid = 1235;
        writer.set_attributes(&file, &wanted).expect("set");
        let found = fs::metadata(tree.at("file")).expect("found");
        assert_eq!((found.uid(), found.mode() & 0o7777), (1235, 0o6751));
    }
}

#[test]
fn what_the_umask_takes_away_comes_back() {
    let tree = Tree::new();
    let writer = tree.writer();
    for mode in [0o777, 0o666, 0o400, 0o000, 0o1777] {
        let name = path(&format!("{mode:o}"));
        let outline = Outline { mode, ..super::fixture::outline(0, WriteMode::Cached) };
        let mut staged = writer.stage_file(Place::Alone(&name), outline).expect("staged");
        staged.set_attributes(&change(mode)).expect("set");
        writer.commit(staged.name(), &name, None, Disposal::Discard).expect("committed");
        let found = fs::metadata(tree.at(&format!("{mode:o}"))).expect("found");
        assert_eq!(found.mode() & 0o7777, mode, "{mode:o}");
    }
}

#[test]
fn attributes_of_placed_objects_of_every_kind() {
    let tree = Tree::new();
    tree.put("dir/file", "text");
    fs::set_permissions(tree.at("dir/file"), fs::Permissions::from_mode(0o0)).expect("set");
    symlink("file", tree.at("dir/link")).expect("linked");
    let writer = tree.writer();
    let fifo = path("dir/fifo");
    let staged = writer.stage_node(Place::Alone(&fifo), &Node::Fifo).expect("staged");
    writer.commit(&staged, &fifo, None, Disposal::Discard).expect("committed");
    for name in ["dir/file", "dir/link", "dir/fifo", "dir", ""] {
        writer.set_attributes(&path(name), &change(0o750)).expect("set");
        let found = fs::symlink_metadata(tree.at(name)).expect("found");
        assert_eq!((found.mtime(), found.mtime_nsec()), (MTIME.seconds, i64::from(MTIME.nanos)), "{name}");
        assert!(found.is_symlink() || found.mode() & 0o7777 == 0o750, "{name}");
    }
    let file = fs::metadata(tree.at("dir/file")).expect("found");
    assert_eq!(file.mtime(), MTIME.seconds, "not moved by what was done to the link to it");
    writer.finish(&BTreeSet::new()).expect("finished");
}

#[test]
fn access_control_lists_and_other_attributes_survive() {
    let tree = Tree::new();
    let writer = tree.writer();
    let file = path("file");
    let mut wanted = vec![xattr("user.comment", b"hello"), xattr("user.empty", b"")];
    wanted.push(xattr("system.posix_acl_access", &acl(1234)));
    let mut staged = stage(&writer, Place::Alone(&file), b"text");
    let mut with = AttributeChange { xattrs: Some(&wanted), ..change(0o750) };
    if let Err(error) = staged.set_attributes(&with) {
        return skip(&format!("this file system has no extended attributes: {error}"));
    }
    writer.commit(staged.name(), &file, None, Disposal::Discard).expect("committed");
    let at = tree.at("file");
    for attribute in &wanted {
        let name = std::str::from_utf8(&attribute.name).expect("text");
        assert_eq!(value(&at, name).as_ref(), Some(&attribute.value), "{name}");
    }
    let found = fs::metadata(&at).expect("found");
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o750, MTIME.seconds));

    // The second time some are gone, and the file may not be written.
    fs::set_permissions(&at, fs::Permissions::from_mode(0o444)).expect("set");
    let fewer = [xattr("user.comment", b"changed")];
    with.xattrs = Some(&fewer);
    writer.set_attributes(&file, &with).expect("set");
    assert_eq!(value(&at, "user.comment").as_deref(), Some(&b"changed"[..]));
    assert_eq!((value(&at, "user.empty"), value(&at, "system.posix_acl_access")), (None, None));
    assert_eq!(fs::metadata(&at).expect("found").mode() & 0o7777, 0o750);
    with.xattrs = None;
    writer.set_attributes(&file, &with).expect("set");
    assert!(value(&at, "user.comment").is_some(), "left alone unless asked");
}

#[test]
fn attributes_of_a_symbolic_link_itself() {
    let tree = Tree::new();
    fs::write(tree.outside().join("victim"), "text").expect("written");
    let writer = tree.writer();
    let link = path("link");
    let text = tree.outside().join("victim").into_os_string().into_encoded_bytes();
    let staged = writer.stage_node(Place::Alone(&link), &Node::Symlink(&text)).expect("staged");
    let wanted = [xattr("trusted.note", b"of the link")];
    let with = AttributeChange { xattrs: Some(&wanted), ..change(0o777) };
    if let Err(error) = writer.set_staged_attributes(&staged, &with) {
        return skip(&format!("trusted attributes need privilege: {error}"));
    }
    writer.commit(&staged, &link, None, Disposal::Discard).expect("committed");
    let mut buffer = [0; 32];
    let len = lgetxattr(tree.at("link"), c"trusted.note", &mut buffer[..]).expect("found");
    assert_eq!(&buffer[..len], b"of the link");
    writer.set_attributes(&link, &AttributeChange { xattrs: Some(&[]), ..with }).expect("set");
    assert!(lgetxattr(tree.at("link"), c"trusted.note", &mut buffer[..]).is_err());
    assert_eq!(value(&tree.outside().join("victim"), "trusted.note"), None);
}

#[test]
fn what_is_staged_inherits_the_group_of_the_tree_but_no_list() {
    if !is_root() {
        return skip("giving a directory to another group needs privilege");
    }
    let tree = Tree::new();
    std::os::unix::fs::chown(tree.root(), None, Some(4321)).expect("given");
    fs::set_permissions(tree.root(), fs::Permissions::from_mode(0o2775)).expect("set");
    let set = setxattr(tree.root(), c"system.posix_acl_default", &acl(1234), XattrFlags::empty());
    if let Err(error) = set {
        return skip(&format!("no access control lists here: {error}"));
    }
    let writer = tree.writer();
    let file = path("file");
    let mut staged = stage(&writer, Place::Alone(&file), b"text");
    staged.set_attributes(&change(0o664)).expect("set");
    writer.commit(staged.name(), &file, None, Disposal::Discard).expect("committed");
    let found = fs::metadata(tree.at("file")).expect("found");
    assert_eq!((found.gid(), found.mode() & 0o7777), (4321, 0o664));
    assert_eq!(value(&tree.at("file"), "system.posix_acl_access"), None);
}

#[test]
fn capabilities_outlive_the_change_of_owner() {
    let tree = Tree::new();
    let sample = tree.outside().join("sample");
    fs::write(&sample, "").expect("written");
    let set = Command::new("setcap").arg("cap_net_raw+ep").arg(&sample).output();
    if !set.is_ok_and(|out| out.status.success()) {
        return skip("cannot set capabilities");
    }
    let capability = value(&sample, "security.capability").expect("set");
    let writer = tree.writer();
    let file = path("file");
    let mut staged = stage(&writer, Place::Alone(&file), b"text");
    let wanted = [xattr("security.capability", &capability)];
    let mut with = AttributeChange { xattrs: Some(&wanted), set_owner: true, ..change(0o4755) };
    with.attributes.uid = 1234;
    staged.set_attributes(&with).expect("set");
    writer.commit(staged.name(), &file, None, Disposal::Discard).expect("committed");
    assert_eq!(value(&tree.at("file"), "security.capability"), Some(capability));
}
