use super::*;
use proptest::prelude::*;
use std::error::Error;

fn path(text: impl Into<Vec<u8>>) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

fn exclude(pattern: &str) -> FilterRule {
    FilterRule::Exclude(pattern.to_owned())
}

fn include(pattern: &str) -> FilterRule {
    FilterRule::Include(pattern.to_owned())
}

fn rules(rules: &[FilterRule]) -> Rules {
    Rules::new(rules, &[]).expect("usable rules")
}

/// Those of `files` that are left out.
fn excluded<'a>(rules: &Rules, files: &[&'a str]) -> Vec<&'a str> {
    files.iter().copied().filter(|file| rules.excludes(&path(*file), false)).collect()
}

#[test]
fn patterns_mean_what_they_mean_in_git() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("*.log", &["a.log", "d/a.log", ".log"], &["a.log.txt", "log"]),
        ("/a", &["a"], &["d/a"]),
        ("d/a", &["d/a"], &["x/d/a"]),
        ("**/d/a", &["d/a", "x/d/a"], &["a"]),
        ("d/**", &["d/a", "d/x/y"], &["d"]),
        ("a?c", &["abc", "a-c"], &["ac", "a/c"]),
        ("[ab]c", &["ac", "bc"], &["cc"]),
        ("\\!a", &["!a"], &["a"]),
        ("#a#", &["#a#"], &["a"]),
        ("\\#a", &["#a"], &["a"]),
        ("a b", &["a b"], &["a"]),
        ("dir/", &[], &["dir"]),
    ];
    for (pattern, matching, others) in table {
        let rules = rules(&[exclude(pattern)]);
        assert_eq!(excluded(&rules, matching), *matching, "{pattern}");
        assert!(excluded(&rules, others).is_empty(), "{pattern}: {:?}", excluded(&rules, others));
    }
    let only_directories = rules(&[exclude("dir/")]);
    assert!(only_directories.excludes(&path("x/dir"), true));
}

#[test]
fn a_later_rule_wins() {
    let rules = rules(&[exclude("*"), include("*.jpg"), include("\\!x"), include("#y"), exclude("secret*")]);
    let files = ["a.jpg", "a.txt", "d/b.jpg", "!x", "#y", "secret.jpg"];
    assert_eq!(excluded(&rules, &files), ["a.txt", "secret.jpg"]);
}

#[test]
fn rule_files_count_below_themselves_and_the_deepest_wins() {
    let rules = rules(&[]);
    rules.learn(&RelPath::root(), b"# all over\n*.tmp\n/top\n");
    rules.learn(&path("a"), b"!keep.tmp\r\nlocal\n/b/anchored\n");
    rules.learn(&path("a/b"), b"keep.tmp");
    let files = [
        "x.tmp",
        "top",
        "a/top",
        "local",
        "a/local",
        "a/b/c/local",
        "a/keep.tmp",
        "a/b/keep.tmp",
        "keep.tmp",
        "ab/local",
        "a/b/anchored",
        "b/anchored",
    ];
    let wanted = ["x.tmp", "top", "a/local", "a/b/c/local", "a/b/keep.tmp", "keep.tmp", "a/b/anchored"];
    assert_eq!(excluded(&rules, &files), wanted);
}

#[test]
fn the_command_line_is_above_rule_files_and_those_above_ignore_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    std::fs::write(&first, "\u{feff}*.a\n*.b\n*.c\n*.d").expect("written");
    std::fs::write(&second, "!*.d\n").expect("written");
    let rules = Rules::new(&[include("*.a"), exclude("*.e")], &[first, second]).expect("usable");
    rules.learn(&RelPath::root(), b"*.a\n!*.b\n!*.e");
    assert_eq!(excluded(&rules, &["x.a", "x.b", "x.c", "x.d", "x.e"]), ["x.c", "x.e"]);
}

#[test]
fn a_pattern_that_cannot_be_read_is_an_error_with_its_place() {
    for pattern in ["", " ", "/", "[a", "{a", "a[z-a]", "!a"] {
        let error = Rules::new(&[exclude(pattern)], &[]).expect_err(pattern);
        assert!(matches!(&error, RulesError::CommandLine { pattern: named, .. } if named == pattern));
        assert!(Rules::new(&[include(pattern)], &[]).is_err(), "{pattern}");
        assert!(error.source().is_some());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules");
    for (content, line) in [(&b"good\n\n# [comment\n[bad\n"[..], 4), (b"good\n\xff", 2), (b"!\n", 1)] {
        std::fs::write(&file, content).expect("written");
        let error = Rules::new(&[], std::slice::from_ref(&file)).expect_err("a bad line");
        assert!(
            matches!(&error, RulesError::Line { path, line: at, .. } if *path == file && *at == line),
            "{error}"
        );
    }
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).expect("written");
    assert!(matches!(Rules::new(&[], &[file]), Err(RulesError::File { .. })));
    assert!(matches!(Rules::new(&[], &["/no/such/file".into()]), Err(RulesError::File { .. })));
}

/// Copying what a broken rule file meant to leave out, or deleting it, would both be wrong.
#[test]
fn below_a_broken_rule_file_everything_is_left_alone() {
    let rules = rules(&[]);
    rules.learn(&path("a"), b"fine\n[broken");
    assert_eq!(excluded(&rules, &["a/x", "a/b/c", "b/x", "ab"]), ["a/x", "a/b/c"]);
    let faults = rules.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].to_string(), "cannot use line 2 of a/.orbitignore");
    assert!(rules.faults().is_empty());
}

#[test]
fn names_that_are_not_text_are_matched_byte_by_byte() {
    let rules = rules(&[exclude("*.bak"), exclude("/x?y")]);
    assert!(rules.excludes(&path(*b"\xff\xfe.bak"), false));
    assert!(rules.excludes(&path(*b"d\xff/new\nline.bak"), false));
    assert!(rules.excludes(&path(*b"x\xffy"), false));
    assert!(!rules.excludes(&path(*b"\xff.ba"), false));
}

#[test]
fn a_million_questions_without_rules_cost_nearly_nothing() {
    let rules = rules(&[]);
    let path = path("some/directory/with/a/file");
    let begin = std::time::Instant::now();
    let excluded = (0..1_000_000).filter(|_| rules.excludes(std::hint::black_box(&path), false)).count();
    assert_eq!(excluded, 0);
    assert!(begin.elapsed().as_millis() < 500, "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn foreign_rule_files_never_panic(bytes: Vec<u8>, name in "[a-z]{1,3}(/[a-z.]{2,3}x){0,3}") {
        let rules = rules(&[]);
        rules.learn(&path("a"), &bytes);
        let broken = !rules.faults().is_empty();
        let below = path(format!("a/{name}"));
        prop_assert!(!broken || rules.excludes(&below, false));
        let beside = path(format!("b/{name}"));
        prop_assert!(!rules.excludes(&beside, false));
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(pattern in "[a\\[\\]!#*?/{},. \\\\-]{0,8}") {
        let excluded = Rules::new(&[exclude(&pattern)], &[]);
        let included = Rules::new(&[exclude("*"), include(&pattern)], &[]);
        prop_assert_eq!(excluded.is_ok(), included.is_ok());
        if let (Ok(excluded), Ok(included)) = (excluded, included) {
            for file in ["a", "a.a", "!a", "#a", "aa/a", "a a"] {
                // What a pattern excludes is exactly what it includes.
                prop_assert_eq!(excluded.excludes(&path(file), false), !included.excludes(&path(file), false), "{}", file);
            }
        }
    }
}

/// What an independent implementation of gitignore says.
fn reference(patterns: &[String], path: &str, is_directory: bool) -> Option<bool> {
    let mut builder = ignore::gitignore::GitignoreBuilder::new("");
    builder.allow_unclosed_class(false);
    for pattern in patterns {
        builder.add_line(None, pattern).ok()?;
    }
    Some(builder.build().ok()?.matched(path, is_directory).is_ignore())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Left out of the patterns is where the two differ and git's documentation decides:
    /// - braces: text in git, alternatives in the reference, an error here;
    /// - backslashes in classes: an escape in git and here, a character in the reference;
    /// - `[!a]`: never a slash in git and here, which the reference lets it match;
    /// - `[[:alpha:]]`: a class in git and here, characters in the reference;
    /// - `**` beside anything but a slash: a `*` in git and here, which the reference lets match a slash.
    #[test]
    fn verdicts_are_those_of_another_implementation(
        patterns in proptest::collection::vec(
            "!?/?((a|b|\\.c|\\*|\\?|\\[ab\\]|\\[a-c\\]|\\\\a|\\\\\\*|\\*\\.c){1,3}|\\*\\*)(/((a|b|\\*|\\?|\\*b){1,2}|\\*\\*)){0,3}/?", 1..5,
        ),
        path in "(a|b|c|\\.c|\\*){1,3}(/(a|b|c|\\.c){1,2}){0,3}",
        is_directory: bool,
    ) {
        let is_double = |pattern: &String| {
            pattern.split('/').any(|part| part.contains("**") && part.trim_start_matches('!') != "**")
        };
        prop_assume!(!patterns.iter().any(is_double));
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("rules");
        std::fs::write(&file, patterns.join("\n")).expect("written");
        let ours = Rules::new(&[], &[file]);
        let reference = reference(&patterns, &path, is_directory);
        prop_assert_eq!(ours.is_ok(), reference.is_some());
        if let (Ok(ours), Some(excluded)) = (ours, reference) {
            let path = RelPath::new(path).expect("a valid path");
            prop_assert_eq!(ours.excludes(&path, is_directory), excluded);
        }
    }
}

#[test]
fn where_others_differ_git_decides() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("[a\\]]x", &["ax", "]x"], &["\\x", "a]x"]),
        ("[]a]x", &["]x", "ax"], &["x"]),
        ("[[:digit:]]", &["7"], &["d", ":]"]),
        ("a**b", &["ab", "acb"], &["a/b"]),
        ("a/**/b", &["a/b", "a/c/b", "a/c/d/b"], &["ab", "x/a/b"]),
        ("a\\ ", &["a "], &["a"]),
        ("a  ", &["a"], &["a "]),
        ("[!a]", &["b"], &["a"]),
        ("/d[!a]b", &["dxb"], &["d/b", "dab"]),
        ("*.tar.gz", &["x.tar.gz", "d/y.tar.gz"], &["x.gz"]),
        ("\\{a,b}", &["{a,b}"], &["a", "b"]),
    ];
    for (pattern, matching, others) in table {
        let rules = rules(&[exclude(pattern)]);
        assert_eq!(excluded(&rules, matching), *matching, "{pattern}");
        assert!(excluded(&rules, others).is_empty(), "{pattern}: {:?}", excluded(&rules, others));
    }
}

#[test]
fn an_error_of_a_pattern_says_what_is_wrong() {
    let many = "*a".repeat(61);
    let deep = "**/a/".repeat(9);
    let table = [
        ("", "the pattern is empty"),
        ("[abc", "a `[` has no `]`: write `\\[` for the character itself"),
        ("[[:alpha", "a `[` has no `]`: write `\\[` for the character itself"),
        ("x[z-a]", "the range 'z'-'a' is empty: its ends are the wrong way round"),
        ("[[:letter:]]", "there is no class of characters with this name: `[[:alpha:]]` is one"),
        ("[[:alpha]", "there is no class of characters with this name: `[[:alpha:]]` is one"),
        ("*.{a,b}", "braces are not expanded: write one pattern for each, or `\\{` for the character itself"),
        (
            "a\\",
            "the pattern ends with a `\\` that has nothing behind it: write `\\\\` for the character itself",
        ),
        (&many, "the pattern has too many `*`: at most 60, and 8 times `**`"),
        (&deep, "the pattern has too many `*`: at most 60, and 8 times `**`"),
    ];
    for (pattern, wanted) in table {
        let error = Rules::new(&[exclude(pattern)], &[]).expect_err(pattern);
        assert_eq!(error.source().expect("a cause").to_string(), wanted);
    }
}

#[test]
fn of_many_patterns_the_last_decides_however_it_is_found() {
    let rules =
        rules(&[exclude("*.o"), include("keep.o"), exclude("k*p.o"), include("keep.o/"), include("*.x.o")]);
    assert_eq!(excluded(&rules, &["a.o", "keep.o", "d/keep.o", "a.x.o"]), ["a.o", "keep.o", "d/keep.o"]);
    assert!(!rules.excludes(&path("d/keep.o"), true));
}
