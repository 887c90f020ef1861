//! `snapback test`: the tests that are kept beside services.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Files, Outcome};
use crate::definition::Service;
use crate::file::ServiceFile;
use crate::{serve, tables};

/// Run the tests that files keep beside their services; no socket is opened.
#[derive(Debug, Args)]
pub(super) struct TestArguments {
    #[command(flatten)]
    files: Files,
    /// Only tests whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also write the results here, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn main(arguments: &TestArguments) -> Outcome {
    let mut report = Report::new("snapback test");
    let (mut passed, mut failed) = (0, 0);
    for path in &arguments.files.files {
        let file = match super::read(path)? {
            Ok(file) => file,
            Err(report) => {
                eprintln!("{report}, so nothing was tested");
                return Ok(ExitCode::FAILURE);
            }
        };
        for service in file.services.iter().map(|service| &service.what) {
            let suite = run(path, &file, service, arguments.filter.as_deref())?;
            let bad = suite
                .test_cases
                .iter()
                .filter(|case| is_failure(case))
                .count();
            failed += bad;
            passed += suite.test_cases.len() - bad;
            report.add_test_suite(suite);
        }
    }
    println!("{passed} passed, {failed} failed");
    if let Some(path) = &arguments.junit {
        let written = std::fs::write(path, report.to_string()?);
        written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    }
    if passed + failed == 0 {
        return Err("there are no such tests: nothing was shown".into());
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn is_failure(case: &TestCase) -> bool {
    !matches!(case.status, TestCaseStatus::Success { .. })
}

/// Runs the tests of a service, and prints a line for each.
fn run(
    path: &Path,
    file: &ServiceFile,
    service: &Service,
    filter: Option<&str>,
) -> Result<TestSuite, Box<dyn std::error::Error>> {
    let mut suite = TestSuite::new(format!("{}/{}", path.display(), service.name));
    let context = tables::context(file.tables.iter().map(|table| &table.what));
    let context = serve::wait_for(context)?;
    let context = context.map_err(|(name, error)| format!("the table `{name}`: {error}"))?;
    let replies = service
        .definition
        .build(serve::detached(service), &context, None)
        .map_err(|(part, error)| format!("{}: {}: {error}", service.name, part.key()))?;
    let mut pipeline = replies.test();
    for case in &service.cases {
        if filter.is_some_and(|filter| !case.name.contains(filter)) {
            continue;
        }
        let differences = case.run(&mut pipeline);
        let status = if differences.is_empty() {
            println!("ok      {}: {}", service.name, case.name);
            TestCaseStatus::success()
        } else {
            println!("FAILED  {}: {}", service.name, case.name);
            for difference in &differences {
                println!("        {difference}");
            }
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(differences.join("; "));
            status
        };
        suite.add_test_case(TestCase::new(case.name.clone(), status));
    }
    Ok(suite)
}
