//! Golden cases, each run live and as a batch over a file: DataFusion's own reader, engine and
//! writer are the oracle of ours.

mod cases;
mod support;

use cases::{Case, Exchange, Expected};
use serde_json::{Value, json};
use snapback::test::TestReply;
use snapback::{Mode, Pipeline, Session};
use snapback_sql::datafusion::arrow::json::LineDelimitedWriter;
use snapback_sql::datafusion::arrow::record_batch::RecordBatch;
use snapback_sql::prelude::*;
use snapback_sql::{REQUESTS, context, ddl};

#[test]
fn every_case_gives_its_replies_live() {
    let cases = cases::all();
    assert!(cases.len() >= 150, "only {} cases were found", cases.len());
    let wrong: Vec<String> = cases.iter().flat_map(live_differences).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_case_gives_as_a_batch_what_it_gives_live() {
    let cases: Vec<Case> = cases::all();
    let both = cases
        .iter()
        .filter(|case| case.batch && case.check == ParsingCheck::Full);
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in both {
        let live = live_values(case);
        let batch = batch_values(case);
        compared += live.len();
        if live != batch {
            wrong.push(format!(
                "{}\n  live  {live:?}\n  batch {batch:?}",
                case.name
            ));
        }
    }
    assert!(compared >= 180, "only {compared} replies were compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A row-wise plan runs as the continuous mode runs it, but on another thread.
#[test]
fn every_case_gives_its_replies_in_micro_batches() {
    for mode in [Mode::Distributed, Mode::Server] {
        let differences = |case: &Case| micro_batch_differences(case, mode, &case.query);
        let wrong: Vec<String> = cases::all().iter().flat_map(differences).collect();
        assert!(wrong.is_empty(), "{mode:?}\n{}", wrong.join("\n"));
    }
}

/// With a window function behind it, DataFusion runs the whole plan.
#[test]
fn every_case_gives_its_replies_in_a_plan_of_datafusions() {
    let differences = |case: &Case| {
        let query = &case.query;
        // What comes out depends on the window, so that nothing drops that.
        let windowed = format!(
            "SELECT * FROM (SELECT *, count(*) OVER () AS __together FROM ({query}) AS answered) \
             AS together WHERE __together > 0"
        );
        micro_batch_differences(case, Mode::Server, &windowed)
    };
    let wrong: Vec<String> = cases::all().iter().flat_map(differences).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Serves a case's query in a mode: what came otherwise than the case says.
fn micro_batch_differences(case: &Case, mode: Mode, query: &str) -> Vec<String> {
    let context = tables(case);
    let reader = support::reader_of(mode, &Session::new(), "case");
    let replies = reader
        .load()
        .expect("good options")
        .columns_in(&context)
        .parse_request_with(case.schema.as_str(), case.check)
        .and_then(|requests| requests.sql(query))
        .and_then(|replies| replies.make_reply(col(column_of(case, &context))))
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let service = support::serve(replies.write_stream());
    let mut client = service.client();
    let mut wrong = Vec::new();
    for exchange in &case.exchanges {
        let answer = client.post("/case", &exchange.body);
        let reply = (
            answer.status,
            answer.content_type.as_deref(),
            answer.body.as_slice(),
        );
        if !fits(exchange, reply) {
            wrong.push(difference(case, exchange, reply));
        }
    }
    wrong
}

/// Runs a case through the pipeline: what came otherwise than it should.
fn live_differences(case: &Case) -> Vec<String> {
    let replies = live(case);
    let pairs = case.exchanges.iter().zip(&replies);
    pairs
        .map(|(exchange, reply)| (exchange, parts(reply)))
        .filter(|(exchange, reply)| !fits(exchange, *reply))
        .map(|(exchange, reply)| difference(case, exchange, reply))
        .collect()
}

/// Status, content type and body.
type ReplyParts<'r> = (u16, Option<&'r str>, &'r [u8]);

fn parts(reply: &TestReply) -> ReplyParts<'_> {
    (reply.status, reply.header("content-type"), &reply.body)
}

fn difference(case: &Case, exchange: &Exchange, (status, kind, body): ReplyParts<'_>) -> String {
    format!(
        "{}\n  request  {}\n  expected {} {:?}\n  received {status} {kind:?} {}",
        case.name,
        exchange.body,
        exchange.status,
        exchange.expected,
        String::from_utf8_lossy(body)
    )
}

fn live(case: &Case) -> Vec<TestReply> {
    let context = tables(case);
    let mut service = Pipeline::detached()
        .columns_in(&context)
        .parse_request_with(case.schema.as_str(), case.check)
        .and_then(|requests| requests.sql(&case.query))
        .and_then(|replies| {
            let column = column_of(case, &context);
            replies.make_reply(col(column))
        })
        .unwrap_or_else(|error| panic!("{}: {error}", case.name))
        .test();
    let exchanges = case.exchanges.iter();
    exchanges
        .map(|exchange| service.post(&exchange.body))
        .collect()
}

fn fits(exchange: &Exchange, (status, kind, body): ReplyParts<'_>) -> bool {
    if status != exchange.status {
        return false;
    }
    match &exchange.expected {
        Expected::Reply(content_type, text) => kind == *content_type && body == text.as_bytes(),
        Expected::Problem(part) => {
            let problem: Value = serde_json::from_slice(body).unwrap_or_default();
            problem["status"] == json!(exchange.status)
                && problem["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains(part))
        }
    }
}

/// The column that is the reply: the one that the case names, or else the only one.
fn column_of(case: &Case, context: &SessionContext) -> String {
    if let Some(column) = &case.column {
        return column.clone();
    }
    let schema = ddl::parse(&case.schema).expect("a schema");
    let empty = context.read_batch(RecordBatch::new_empty(schema.into()));
    let requests = empty.expect("a table without rows").into_view();
    context
        .register_table(REQUESTS, requests)
        .expect("a free name");
    let planned = wait(context.sql(&case.query)).expect("a query");
    context.deregister_table(REQUESTS).expect("a table");
    let names = planned.schema().field_names();
    assert_eq!(names.len(), 1, "{}: which column is the reply?", case.name);
    planned.schema().field(0).name().clone()
}

fn tables(case: &Case) -> SessionContext {
    let context = context();
    for (name, query) in &case.tables {
        let table = wait(context.sql(query)).expect("the query of a table");
        context
            .register_table(name.as_str(), table.into_view())
            .expect("a free name");
    }
    context
}

/// The live replies as rows of one column; a request that was refused or filtered has none.
fn live_values(case: &Case) -> Vec<Value> {
    let column = column_of(case, &tables(case));
    let replies = live(case).into_iter().filter(|reply| reply.status == 200);
    replies
        .map(|reply| match reply.header("content-type") {
            Some("application/json") => {
                let value: Value = serde_json::from_slice(&reply.body).expect("JSON");
                let is_value = value.as_object().is_some_and(|object| {
                    object.is_empty() || (object.len() == 1 && object.contains_key(&column))
                });
                if is_value {
                    value
                } else {
                    json!({ column.as_str(): value })
                }
            }
            Some(_) => json!({ column.as_str(): reply.text() }),
            None => json!({}),
        })
        .map(plain)
        .collect()
}

/// The same requests as a file of JSON lines, the same query over it.
fn batch_values(case: &Case) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("requests.json");
    let bodies = case
        .exchanges
        .iter()
        .filter(|exchange| exchange.status < 400);
    let lines: Vec<&str> = bodies.map(|exchange| exchange.body.as_str()).collect();
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let context = tables(case);
    let schema = ddl::parse(&case.schema).expect("a schema");
    let options = JsonReadOptions::default().schema(&schema);
    let path = file.to_str().expect("a path in UTF-8");
    let batches = wait(async {
        context.register_json(REQUESTS, path, options).await?;
        let replies = context.sql(&case.query).await?;
        let column = column_in(case, &replies);
        replies.select(vec![col(column)])?.collect().await
    });
    let batches = batches.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let mut lines = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut lines);
    for batch in &batches {
        writer.write(batch).expect("rows as JSON");
    }
    writer.finish().expect("rows as JSON");
    drop(writer);
    let lines = String::from_utf8(lines).expect("UTF-8");
    lines
        .lines()
        .map(|line| plain(serde_json::from_str(line).expect("JSON")))
        .collect()
}

fn column_in(case: &Case, replies: &DataFrame) -> String {
    let first = || replies.schema().field(0).name().clone();
    case.column.clone().unwrap_or_else(first)
}

/// Without what the two writers may say in two ways: a null field and none, an empty object and
/// one of nulls alone.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .filter(|(_, value)| !value.is_null() && *value != json!({}))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(plain).collect(),
        other => other,
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}
