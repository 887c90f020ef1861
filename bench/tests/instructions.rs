//! A request costs the instructions that are stated, in the profile of tests; `cargo bench` counts those of
//! a release build.

#[path = "common/instructions.rs"]
mod instructions;

use std::io::Write;

#[test]
fn a_request_costs_the_instructions_that_are_stated() {
    if let Err(why) = instructions::valgrind() {
        // Past the harness's capture, for whoever counts.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a_request_costs_the_instructions_that_are_stated: {why}"
        );
        return;
    }
    let program = env!("CARGO_BIN_EXE_snapback-bench");
    let wrong = instructions::count(program, |case| case.in_tests);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The other ones are the benches'.
    assert!(
        instructions::CASES
            .iter()
            .all(|case| case.in_release < case.in_tests)
    );
}
