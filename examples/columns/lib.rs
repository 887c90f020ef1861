//! The fare of a ride, defined once: for a file of rides, and for rides as they are asked for.

use snapback_sql::datafusion::error::Result;
use snapback_sql::prelude::*;

/// What a ride is.
pub const RIDE: &str = "zone STRING, km DOUBLE, passengers INT";

/// Adds `fare` to each ride.
///
/// # Errors
///
/// When the rides lack a column of [`RIDE`].
pub fn with_fare(rides: DataFrame) -> Result<DataFrame> {
    let per_km = when(col("zone").eq(lit("airport")), lit(2.5)).otherwise(lit(1.75))?;
    let base = when(col("passengers").gt(lit(4)), lit(6.0)).otherwise(lit(3.5))?;
    let fare = base + per_km * col("km");
    rides
        .filter(col("km").gt(lit(0.0)))?
        .with_column("fare", round(vec![fare, lit(2)]))
}

#[cfg(test)]
mod tests {
    use snapback::Pipeline;
    use snapback_sql::datafusion::arrow::array::AsArray;
    use snapback_sql::datafusion::arrow::datatypes::Float64Type;
    use snapback_sql::{context, ddl};

    use super::*;

    const RIDES: [&str; 3] = [
        r#"{"zone":"city","km":4.0,"passengers":1}"#,
        r#"{"zone":"airport","km":21.3,"passengers":5}"#,
        r#"{"zone":"city","km":0.0,"passengers":1}"#,
    ];

    #[test]
    fn a_file_of_rides_has_its_fares() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let file = tempfile::Builder::new().suffix(".json").tempfile()?;
        std::fs::write(file.path(), RIDES.join("\n"))?;
        let path = file.path().display().to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let batches = runtime.block_on(async {
            let schema = ddl::parse(RIDE).expect("a schema");
            let options = JsonReadOptions::default().schema(&schema);
            let rides = context().read_json(path, options).await?;
            with_fare(rides)?.select(vec![col("fare")])?.collect().await
        })?;
        let fares = batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Float64Type>());
        assert_eq!(fares.collect::<Vec<_>>(), [Some(10.5), Some(59.25)]);
        Ok(())
    }

    #[test]
    fn a_request_has_its_fare() -> snapback_sql::Result<()> {
        let mut service = Pipeline::detached()
            .columns()
            .parse_request(RIDE)?
            .transform(with_fare)?
            .make_reply(col("fare"))?
            .test();
        service.post(RIDES[0]).expect(200, r#"{"fare":10.5}"#);
        service.post(RIDES[1]).expect(200, r#"{"fare":59.25}"#);
        service.post(RIDES[2]).expect(204, "");
        Ok(())
    }
}
