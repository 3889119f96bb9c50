use super::*;

#[test]
fn words_for_a_shell() {
    assert_eq!(quoted("/srv/a-b"), "/srv/a-b");
    assert_eq!(quoted("a b"), "'a b'");
    assert_eq!(quoted("it's"), "'it'\\''s'");
    assert_eq!(quoted(""), "''");
}
