use super::*;
use proptest::prelude::*;
use std::collections::HashSet;
use std::fmt::Write;

#[test]
fn the_table_as_reviewed() {
    let mut out = String::new();
    for class in [Class::Critical, Class::Document, Class::Ordinary, Class::Media, Class::Bulk] {
        writeln!(out, "{class:?} ({})", class as u8).expect("writing to a string");
        for rule in RULES.iter().filter(|rule| rule.class == class) {
            writeln!(out, "  {}", rule.what).expect("writing to a string");
            for (label, words) in [("names", rule.names), ("extensions", rule.extensions)] {
                if !words.is_empty() {
                    writeln!(out, "    {label}: {}", words.join(" ")).expect("writing to a string");
                }
            }
        }
        let magic: Vec<_> = MAGIC.iter().filter(|magic| magic.class == class).map(|m| m.what).collect();
        writeln!(out, "  first bytes\n    {}", magic.join(", ")).expect("writing to a string");
    }
    insta::assert_snapshot!(out);
}

#[test]
fn words_are_unique_lower_case_and_short() {
    for pick in [(|rule| rule.names) as fn(&Rule) -> &'static [&'static str], |rule| rule.extensions] {
        let mut seen = HashSet::new();
        for word in RULES.iter().flat_map(pick) {
            assert!((1..=16).contains(&word.len()), "{word}");
            assert_eq!(word.to_ascii_lowercase(), *word);
            assert!(seen.insert(word), "{word} stands twice");
        }
        assert!(seen.len() <= Lookup::SLOTS / 2, "{} words: make the table larger", seen.len());
    }
    let extensions = RULES.iter().flat_map(|rule| rule.extensions);
    assert!(extensions.into_iter().all(|word| !word.contains('.')), "an extension holds no point");
    for magic in MAGIC {
        assert!(magic.offset + magic.bytes.len() <= HEADER_LEN, "{}", magic.what);
    }
}

#[test]
fn every_word_is_found_and_every_magic_fits() {
    for rule in RULES {
        for name in rule.names {
            assert_eq!(class_of_name(name.as_bytes()), Some(rule.class), "{name}");
        }
        for extension in rule.extensions {
            let name = format!("some.thing.{}", extension.to_ascii_uppercase());
            assert_eq!(class_of_name(name.as_bytes()), Some(rule.class), "{name}");
        }
    }
    for magic in MAGIC {
        let mut header = vec![b'_'; HEADER_LEN];
        header[magic.offset..][..magic.bytes.len()].copy_from_slice(magic.bytes);
        assert_eq!(class_of_header(&header), Some(magic.class), "{}", magic.what);
    }
}

#[test]
fn examples() {
    let class = |name: &str| class_of_name(name.as_bytes());
    assert_eq!(class("Makefile"), Some(Class::Critical));
    assert_eq!(class(".profile"), Some(Class::Critical));
    assert_eq!(class("Thumbs.db"), Some(Class::Ordinary), "a name beats its extension");
    assert_eq!(class("IMG_0001.JPG"), Some(Class::Media));
    assert_eq!(class("backup.tar.zst"), Some(Class::Bulk));
    assert_eq!(class("libfoo.so.1"), None);
    assert_eq!(class("."), None);
    assert_eq!(class("name."), None);
    assert_eq!(class("data"), None);
    assert_eq!(class_of_header(b"plain words"), None);
    assert_eq!(Class::default(), Class::Ordinary);
}

proptest! {
    #[test]
    fn any_name_is_judged_and_case_does_not_matter(name in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(class_of_name(&name), class_of_name(&name.to_ascii_uppercase()));
    }

    #[test]
    fn any_header_is_judged(header in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = class_of_header(&header);
    }

    #[test]
    fn an_unknown_word_has_no_class(word in "[a-z]{1,16}") {
        let known = RULES.iter().any(|rule| rule.names.contains(&word.as_str()));
        prop_assert_eq!(class_of_name(word.as_bytes()).is_some(), known);
    }
}
