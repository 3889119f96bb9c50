use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn allowed(paths: &[&Path]) -> AllowedPaths {
    AllowedPaths::new(&paths.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>())
}

fn find(paths: &AllowedPaths, path: impl AsRef<[u8]>) -> Result<Place, NoPlace> {
    paths.find("nas2", path.as_ref(), true)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn has(place: Result<Place, NoPlace>, name: &[u8]) -> bool {
    match place.expect("a place") {
        Place::Inside { jail, .. } => {
            let system = LocalSystem::new(jail);
            system.metadata(&RelPath::new(name).expect("a path")).is_ok()
        }
        Place::Above(_) => panic!("it lies inside"),
    }
}

#[test]
fn what_is_said_unplainly_is_refused_outright() {
    let root = tempfile::tempdir().expect("a directory");
    let paths = allowed(&[root.path()]);
    let inside = root.path().to_str().expect("plain");
    for path in [
        String::new(),
        "relative".to_owned(),
        inside[1..].to_owned(),
        format!("{inside}/.."),
        format!("{inside}/a/../b"),
        format!("{inside}/."),
        format!("{inside}/./a"),
        format!("/../{inside}"),
        format!("{inside}\0"),
        format!("{inside}/a\0/b"),
        "\0/".to_owned(),
    ] {
        let Err(NoPlace::Refused(Refusal::OutsideJail { node, allowed, .. })) = find(&paths, &path) else {
            panic!("{path:?} was not refused")
        };
        assert_eq!((node.as_str(), &*allowed), ("nas2", &[inside.to_owned()][..]));
    }
    let refused = find(&paths, "/etc/shadow").expect_err("outside");
    let NoPlace::Refused(refusal) = refused else { panic!("{refused:?}") };
    assert_eq!(
        refusal.to_string(),
        format!("nas2 refused /etc/shadow: it is outside its allowed paths ({inside})")
    );
}

#[test]
fn components_are_compared_and_not_letters() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("data/sub")).expect("made");
    fs::create_dir(root.path().join("data2")).expect("made");
    fs::write(root.path().join("data/sub/file"), "1").expect("written");
    let data = root.path().join("data");
    let paths = allowed(&[&data]);
    let text = data.to_str().expect("plain").to_owned();
    assert!(has(find(&paths, &text), b"sub"));
    assert!(has(find(&paths, format!("{text}/")), b"sub"));
    assert!(has(find(&paths, text.replace("/data", "//data///")), b"sub"));
    assert!(has(find(&paths, format!("{text}/sub")), b"file"));
    assert!(matches!(find(&paths, format!("{text}2")), Err(NoPlace::Refused(_))));
    let Ok(Place::Inside { jail, start }) = find(&paths, format!("{text}/sub/file")) else {
        panic!("a file")
    };
    assert_eq!((start.as_bytes(), jail.root_path()), (&b"file"[..], &*data.join("sub")));
    assert!(
        matches!(find(&paths, format!("{text}/missing")), Err(NoPlace::Failed(error)) if error.is_not_found())
    );
}

#[test]
fn above_the_allowed_paths_there_are_only_ways() {
    let paths = allowed(&[Path::new("/srv/a/b"), Path::new("/srv/c"), Path::new("/media")]);
    let ways = |path: &str| match find(&paths, path) {
        Ok(Place::Above(ways)) => {
            ways.into_iter().map(|way| String::from_utf8_lossy(&way).into_owned()).collect()
        }
        Ok(place) => panic!("{place:?}"),
        Err(_) => Vec::new(),
    };
    assert_eq!(ways("/"), ["media", "srv"]);
    assert_eq!(ways("/srv"), ["a", "c"]);
    assert_eq!(ways("/srv/a/"), ["b"]);
    assert_eq!(ways("/srv/b"), [""; 0]);
    assert_eq!(ways("/etc"), [""; 0]);
    assert!(matches!(paths.find("nas2", b"/srv", false), Err(NoPlace::Refused(_))));
    let none = allowed(&[]);
    let Err(NoPlace::Refused(refusal)) = find(&none, "/") else { panic!("nothing is allowed") };
    assert!(refusal.to_string().contains("none: it holds no files"), "{refusal}");
}

#[test]
fn a_swapped_allowed_directory_is_not_followed_and_a_new_one_is_found() {
    let root = tempfile::tempdir().expect("a directory");
    let data = root.path().join("data");
    let paths = allowed(&[&data]);
    let Err(NoPlace::Refused(Refusal::Failed { message, .. })) = find(&paths, bytes(&data)) else {
        panic!("it is not there")
    };
    assert!(message.ends_with("cannot be opened: no such file or directory"), "{message}");
    fs::write(&data, "a file").expect("written");
    let Err(NoPlace::Refused(Refusal::Failed { message, .. })) = find(&paths, bytes(&data)) else {
        panic!("it is a file")
    };
    assert!(message.ends_with("cannot be opened: not a directory"), "{message}");
    fs::remove_file(&data).expect("removed");

    fs::create_dir(&data).expect("made");
    fs::write(data.join("first"), "1").expect("written");
    assert!(has(find(&paths, bytes(&data)), b"first"));
    fs::rename(&data, root.path().join("moved")).expect("renamed");
    symlink("/", &data).expect("linked");
    let Err(NoPlace::Refused(Refusal::Failed { message, .. })) = find(&paths, bytes(&data)) else {
        panic!("a link in its place is followed")
    };
    assert!(message.contains("a link was put in its place"), "{message}");

    fs::remove_file(&data).expect("removed");
    fs::create_dir(&data).expect("made");
    fs::write(data.join("second"), "2").expect("written");
    assert!(
        has(find(&paths, bytes(&data)), b"second"),
        "a directory in its place is served: whoever may rename there decides"
    );
}

#[test]
fn links_below_lead_nowhere_and_are_what_they_are() {
    let root = tempfile::tempdir().expect("a directory");
    let data = root.path().join("data");
    fs::create_dir_all(root.path().join("outside/sub")).expect("made");
    fs::create_dir(&data).expect("made");
    symlink("../outside", data.join("link")).expect("linked");
    let paths = allowed(&[&data]);
    let Ok(Place::Inside { start, .. }) = find(&paths, bytes(&data.join("link"))) else { panic!("a link") };
    assert_eq!(start.as_bytes(), b"link");
    let through = find(&paths, bytes(&data.join("link/sub")));
    assert!(matches!(through, Err(NoPlace::Failed(SystemError::Escapes { .. }))), "{through:?}");
}
