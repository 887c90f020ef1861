//! The commands, a file each.

mod checkpoint;
mod completions;
mod explain;
mod lint;
mod reference;
mod run;
mod sql;
mod test;

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use clap::{Parser, Subcommand};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::file::{Problem, Report, ServiceFile};
use crate::lint::lint;

/// What a command gives: its exit code, or why it could not do its work.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Streaming pipelines as web services, with the lowest latency that the hardware allows.
#[derive(Debug, Parser)]
#[command(name = "snapback", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a query.
    Sql(sql::SqlArguments),
    /// Serve what a file describes.
    Run(run::RunArguments),
    /// Say what is wrong with files, and where.
    Lint(lint::LintArguments),
    /// Run the tests that files keep beside their services; no socket is opened.
    Test(test::TestArguments),
    /// Show what becomes of the query of each service, and what its stages cost.
    Explain(explain::ExplainArguments),
    /// Show what a checkpoint says, and whether it can be trusted.
    Checkpoint(checkpoint::CheckpointArguments),
    /// Load a service, and measure its latency.
    Bench(snapback_bench::load::LoadArguments),
    /// Print the JSON Schema of service files, for editors.
    Schema,
    /// Print what may stand in a service file, and all options, as Markdown.
    Reference,
    /// Print what a shell needs to complete commands.
    Completions(completions::CompletionsArguments),
}

/// Does what it was asked. An exit code of 1 says that there is something wrong with what was looked
/// at, 2 that it could not be looked at.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.command {
        Command::Sql(arguments) => sql::main(arguments),
        Command::Run(arguments) => run::main(arguments),
        Command::Lint(arguments) => lint::main(arguments),
        Command::Test(arguments) => test::main(arguments),
        Command::Explain(arguments) => explain::main(arguments),
        Command::Checkpoint(arguments) => checkpoint::main(arguments),
        Command::Bench(arguments) => snapback_bench::load::main(arguments),
        Command::Schema => reference::schema(),
        Command::Reference => reference::reference(),
        Command::Completions(arguments) => completions::main(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

/// A file that was read: all is well with it, or what is wrong is told.
fn read(path: &Path) -> Result<Result<ServiceFile, Report>, Box<dyn Error>> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let variable = |name: &str| env::var(name).ok();
    let (file, mut problems) = crate::file::read(&text, &folder, &variable);
    problems.extend(lint(&file, &text));
    Ok(match problems.is_empty() {
        true => Ok(file),
        false => Err(report(path, text, problems)),
    })
}

fn report(path: &Path, text: String, problems: Vec<Problem>) -> Report {
    Report {
        name: path.display().to_string(),
        text,
        problems,
        colours: std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none(),
    }
}

/// So many of something, in words.
fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// The files that a command is given.
#[derive(Debug, clap::Args)]
struct Files {
    /// Service files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Sends the log to where it does not get between the lines that a command prints.
fn log_to_stderr(level: tracing::Level) {
    // A second one in a process, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        .with_max_level(level)
        .with_target(false)
        .with_span_events(FmtSpan::NONE)
        .try_init();
}
