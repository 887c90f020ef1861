//! `snapback lint`: what is wrong with files.

use std::process::ExitCode;

use clap::Args;

use super::{Files, Outcome, count};

/// Say what is wrong with files, and where.
#[derive(Debug, Args)]
pub(super) struct LintArguments {
    #[command(flatten)]
    files: Files,
}

pub(super) fn main(arguments: &LintArguments) -> Outcome {
    let mut code = ExitCode::SUCCESS;
    for path in &arguments.files.files {
        match super::read(path)? {
            Ok(file) => {
                let cases: usize = file.services.iter().map(|s| s.what.cases.len()).sum();
                println!(
                    "{}: no problems in {}, {}, {}",
                    path.display(),
                    count(file.services.len(), "service"),
                    count(file.tables.len(), "table"),
                    count(cases, "test")
                );
            }
            Err(report) => {
                eprintln!("{report}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
