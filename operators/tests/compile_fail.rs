//! The usual mistakes, and what rustc says to them: each file of `ui/` has its message beside it.
//!
//! The messages are those of the pinned toolchain. After a change, `TRYBUILD=overwrite` writes them
//! anew; read them as a newcomer would before they are kept.

#[test]
fn the_usual_mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
