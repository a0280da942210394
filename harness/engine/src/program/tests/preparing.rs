//! What the harness does before a program comes in.

use super::*;
use crate::program::matches;

#[test]
fn the_initial_set_is_written_without_its_count() {
    let world = World::new(Object::Set);
    let strategy = world.strategy(vec!["true".to_owned()], Lifetime::Session);
    let context = world.context();
    strategy.prepare(&context, None).unwrap();
    assert!(!context.file.exists());
    let counted = tearproof_core::set::SetDocument::default().render(Format::Json);
    strategy.prepare(&context, Some(&counted)).unwrap();
    let text = std::fs::read_to_string(&context.file).unwrap();
    assert_eq!(text.split_whitespace().collect::<String>(), "{\"elements\":[]}");
    strategy.prepare(&context, Some(b"{\"elem")).unwrap();
    assert_eq!(std::fs::read(&context.file).unwrap(), b"{\"elem");
}

#[test]
fn names_that_are_kept_may_have_stars() {
    let world = World::register();
    let strategy = world.strategy(vec!["true".to_owned()], Lifetime::Session);
    let context = world.context();
    assert!(strategy.keeps(&context, "state.lock"));
    assert!(!strategy.keeps(&context, "state.lock.tmp"));
    assert!(matches("a*c*", "abcd") && matches("*", "") && !matches("a*c", "ab"));
}
