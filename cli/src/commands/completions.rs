//! `snapback completions`: for shells.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Outcome};

/// Print what a shell needs to complete commands.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

#[expect(clippy::unnecessary_wraps, reason = "as every command")]
pub(super) fn main(arguments: &CompletionsArguments) -> Outcome {
    let mut command = Arguments::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "snapback",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}
