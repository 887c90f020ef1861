//! `snapback checkpoint`: what a checkpoint says.

use std::process::ExitCode;

use clap::Args;
use snapback::checkpoint::{CommittedEpoch, Inspection, inspect};

use super::Outcome;

/// Show what a checkpoint says, and whether it can be trusted.
#[derive(Debug, Args)]
pub(super) struct CheckpointArguments {
    /// The checkpoint's location: a folder, or a file: URL. A query may be using it.
    location: String,
    /// Show all epochs that are kept, not the newest alone.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn main(arguments: &CheckpointArguments) -> Outcome {
    let found = inspect(&arguments.location)?;
    let is_nothing =
        found.epochs.is_empty() && found.damaged.is_empty() && found.unusable.is_none();
    if found.query_id.is_none() && is_nothing {
        let location = &arguments.location;
        return Err(format!(
            "{location}: no query has begun a checkpoint there; it is what `checkpointLocation` was"
        )
        .into());
    }
    let kept = match (arguments.all, found.epochs.len()) {
        (true, _) | (_, 0) => 0,
        (false, epochs) => epochs - 1,
    };
    match arguments.json {
        true => println!("{:#}", as_json(&found, &found.epochs[kept..])),
        false => print(&found, &found.epochs[kept..]),
    }
    Ok(match found.damaged.is_empty() && found.unusable.is_none() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print(found: &Inspection, epochs: &[CommittedEpoch]) {
    let unknown = "none yet";
    println!("service   {}", found.service.as_deref().unwrap_or(unknown));
    println!("query     {}", found.query_id.as_deref().unwrap_or(unknown));
    println!("epochs    {} committed and whole", found.epochs.len());
    for epoch in epochs {
        println!("\nepoch {} of run {}", epoch.epoch, epoch.run_id);
        println!("{:>12}{:>16}{:>16}", "partition", "settled", "next");
        for (partition, marks) in &epoch.partitions {
            println!("{partition:>12}{:>16}{:>16}", marks.settled, marks.next);
        }
    }
    for damage in &found.damaged {
        let (epoch, file, reason) = (damage.epoch, &damage.file, &damage.reason);
        println!("\ndamaged: epoch {epoch}: the file `{file}` {reason}");
    }
    if !found.uncommitted.is_empty() {
        let epochs: Vec<String> = found.uncommitted.iter().map(u64::to_string).collect();
        println!("\nbegun, not committed: {}", epochs.join(", "));
    }
    match (&found.unusable, found.damaged.is_empty()) {
        (Some(reason), _) => println!("\nno query can start from it: {reason}"),
        (None, false) => println!("\na query starts from the newest epoch that is whole"),
        (None, true) => {}
    }
}

fn as_json(found: &Inspection, epochs: &[CommittedEpoch]) -> serde_json::Value {
    let epochs = epochs.iter().map(|epoch| {
        let partitions: serde_json::Map<String, serde_json::Value> = epoch
            .partitions
            .iter()
            .map(|(partition, marks)| {
                let marks = serde_json::json!({"settled": marks.settled, "next": marks.next});
                (partition.to_string(), marks)
            })
            .collect();
        serde_json::json!({
            "epoch": epoch.epoch,
            "runId": epoch.run_id,
            "partitions": partitions,
        })
    });
    let damaged = found.damaged.iter().map(|damage| {
        serde_json::json!({"epoch": damage.epoch, "file": damage.file, "reason": damage.reason})
    });
    serde_json::json!({
        "service": found.service,
        "queryId": found.query_id,
        "epochs": epochs.collect::<Vec<_>>(),
        "damaged": damaged.collect::<Vec<_>>(),
        "uncommitted": found.uncommitted,
        "unusable": found.unusable,
    })
}
