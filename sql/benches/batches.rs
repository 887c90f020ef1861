//! What a batch of requests costs, from bodies to a column of replies: by its size, by its plan, by
//! its expression, and by the size of the table that it is joined with.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snapback_sql::context;
use snapback_sql::datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use snapback_sql::internals::Batches;
use snapback_sql::prelude::*;

const SIZES: [usize; 4] = [1, 16, 256, 4096];
const SCHEMA: &str = "foo STRING, n BIGINT";

fn bodies(rows: usize) -> Vec<Vec<u8>> {
    let body = |n| format!(r#"{{"foo":"hello number {n}","n":{}}}"#, n * 7919 % 1000).into_bytes();
    (0..rows).map(body).collect()
}

fn run(batches: &mut Batches, bodies: &[Vec<u8>]) -> usize {
    for body in bodies {
        assert!(batches.add(body));
    }
    batches.run().expect("it runs")
}

fn plans(criterion: &mut Criterion) {
    for (name, query, by_datafusion) in [
        (
            "row-wise",
            "SELECT character_length(foo) AS r FROM requests WHERE n >= 0",
            false,
        ),
        (
            "row-wise by DataFusion",
            "SELECT character_length(foo) AS r FROM requests WHERE n >= 0",
            true,
        ),
        (
            "window",
            "SELECT rank() OVER (ORDER BY n) AS r FROM requests",
            true,
        ),
        ("sort", "SELECT n AS r FROM requests ORDER BY n", true),
        (
            "self-join",
            "SELECT a.n AS r FROM requests a JOIN (SELECT n, max(foo) FROM requests GROUP BY n) b ON a.n = b.n",
            true,
        ),
    ] {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            let bodies = bodies(size);
            let mut batches =
                Batches::new(&context(), SCHEMA, query, "r", by_datafusion).expect("it is planned");
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| run(&mut batches, &bodies));
            });
        }
        group.finish();
    }
    // The same plan made anew for each batch, as a query is that is only a text.
    let bodies = bodies(1);
    criterion.bench_function("planned for each batch/1", |bencher| {
        bencher.iter(|| {
            let query = "SELECT rank() OVER (ORDER BY n) AS r FROM requests";
            let batches = Batches::new(&context(), SCHEMA, query, "r", true);
            run(&mut batches.expect("it is planned"), &bodies)
        });
    });
}

/// Expressions in the programs of row-wise queries. What one costs is the difference to the first,
/// which computes nothing; what a row costs falls with the size of the batch.
fn expressions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expression");
    for (name, expression) in [
        ("none", "n"),
        ("arithmetic", "(n + 7) * 2 - n % 5"),
        ("comparison", "n > 10 AND n < 500 OR foo = 'hello number 3'"),
        (
            "case",
            "CASE WHEN n < 0 THEN 'negative' WHEN n = 0 THEN 'zero' ELSE 'positive' END",
        ),
        ("text", "concat(upper(foo), '/', left(foo, 5))"),
        ("pattern", "regexp_replace(foo, '[0-9]+', '#')"),
    ] {
        let query = format!("SELECT {expression} AS r FROM requests");
        let batches = Batches::new(&context(), SCHEMA, &query, "r", false);
        let mut batches = batches.expect("it is planned");
        for size in [1, 16, 256] {
            let bodies = bodies(size);
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| assert_eq!(run(&mut batches, &bodies), size));
            });
        }
    }
    group.finish();
}

fn joins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    // A run that only tries the bench does not want a million rows.
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let most = if is_trial { 10_000 } else { 1_000_000 };
    for rows in [1_000, most] {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let names = (0..rows).map(|n| format!("name {n}"));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        let tables = context();
        let table = DataFrame::from_columns(vec![("k", keys), ("name", names)]);
        let table = table.expect("a table").into_view();
        tables.register_table("t", table).expect("a free name");
        let query = "SELECT name AS r FROM requests JOIN t ON requests.n = t.k";
        let mut batches = Batches::new(&tables, SCHEMA, query, "r", false).expect("it is planned");
        for size in [1, 256] {
            let bodies = bodies(size);
            group.throughput(Throughput::Elements(size as u64));
            let name = format!("{rows} rows/{size}");
            group.bench_function(name, |bencher| {
                bencher.iter(|| assert_eq!(run(&mut batches, &bodies), size));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, plans, expressions, joins);
criterion_main!(benches);
