//! `snapback explain`: what becomes of queries.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Outcome;
use crate::file::quoted;
use crate::{serve, tables};

/// Show what becomes of the query of each service, and what its stages cost.
#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// The service file.
    file: PathBuf,
    /// Only this service.
    service: Option<String>,
}

pub(super) fn main(arguments: &ExplainArguments) -> Outcome {
    let file = match super::read(&arguments.file)? {
        Ok(file) => file,
        Err(report) => {
            eprintln!("{report}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let context = tables::context(file.tables.iter().map(|table| &table.what));
    let context = serve::wait_for(context)?;
    let context = context.map_err(|(name, error)| format!("the table `{name}`: {error}"))?;
    let is_meant = |name: &String| arguments.service.as_ref().is_none_or(|only| only == name);
    let mut services = file.services.iter().map(|service| &service.what);
    let mut any = false;
    for service in services.by_ref().filter(|service| is_meant(&service.name)) {
        let explanation = crate::explain::explain(service, &context);
        let explanation = explanation
            .map_err(|(part, error)| format!("{}: {}: {error}", service.name, part.key()))?;
        if any {
            println!();
        }
        println!("{}\n{explanation}", service.name);
        any = true;
    }
    match any {
        true => Ok(ExitCode::SUCCESS),
        false => {
            let names = file
                .services
                .iter()
                .map(|service| service.what.name.as_str());
            let asked = arguments.service.as_deref().unwrap_or_default();
            Err(format!("the file has no service `{asked}`, but {}", quoted(names)).into())
        }
    }
}
