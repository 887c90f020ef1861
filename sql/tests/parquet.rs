//! Tables in Parquet files: joined by requests, and given to the same definition as they are.

use std::path::Path;

use snapback::Pipeline;
use snapback_sql::datafusion::arrow::array::AsArray;
use snapback_sql::datafusion::dataframe::DataFrameWriteOptions;
use snapback_sql::prelude::*;
use snapback_sql::{Result, context, strings};

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// Writes two columns of texts into a file.
fn write(file: &Path, columns: [(&str, [&str; 2]); 2]) -> Result<()> {
    let columns = columns.map(|(name, values)| (name, strings(values)));
    let table = DataFrame::from_columns(columns.to_vec())?;
    let file = file.to_str().expect("a path in UTF-8");
    wait(table.write_parquet(file, DataFrameWriteOptions::new(), None))?;
    Ok(())
}

fn greeting(
    people: DataFrame,
) -> std::result::Result<DataFrame, snapback_sql::datafusion::error::DataFusionError> {
    people.select([concat(vec![col("greeting"), lit(", "), col("name")]).alias("r")])
}

#[test]
fn a_parquet_file_is_a_table_and_a_batch() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let (zips, people) = (
        folder.path().join("zips.parquet"),
        folder.path().join("people.parquet"),
    );
    write(
        &zips,
        [("zip", ["98052", "10115"]), ("city", ["Redmond", "Berlin"])],
    )?;
    write(
        &people,
        [("greeting", ["Hello", "Servus"]), ("name", ["Ada", "Kurt"])],
    )?;
    let tables = context();
    for (name, file) in [("zips", &zips), ("people", &people)] {
        let file = file.to_str().expect("a path in UTF-8");
        wait(tables.register_parquet(name, file, ParquetReadOptions::default()))?;
    }

    let mut service = Pipeline::detached()
        .columns_in(&tables)
        .parse_request("zip STRING")?
        .sql("SELECT city FROM requests JOIN zips ON requests.zip = zips.zip")?
        .make_reply(col("city"))?
        .test();
    service.post(r#"{"zip":"10115"}"#).expect(200, "Berlin");

    let mut service = Pipeline::detached()
        .columns()
        .parse_request("greeting STRING, name STRING")?
        .transform(greeting)?
        .make_reply(col("r"))?
        .test();
    let batches = wait(wait(tables.table("people")).map(greeting)??.collect())?;
    let rows = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string_view().iter());
    let rows: Vec<&str> = rows.flatten().collect();
    assert_eq!(rows, ["Hello, Ada", "Servus, Kurt"]);
    service
        .post(r#"{"greeting":"Hello","name":"Ada"}"#)
        .expect(200, rows[0]);
    service
        .post(r#"{"greeting":"Servus","name":"Kurt"}"#)
        .expect(200, rows[1]);
    Ok(())
}
