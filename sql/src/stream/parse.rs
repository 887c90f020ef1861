//! From requests to columns.

use super::ColumnStream;
use crate::error::{Result, SqlError};
use crate::input::{Body, RowsOf, Sources};
use crate::parsing_check::ParsingCheck;
use crate::schema::{self, IntoSchema};

impl<S, O> ColumnStream<S, O> {
    /// Parses the JSON body of each request into columns: of an Arrow schema, or of Spark's DDL
    /// string. A body that does not fit is answered 400: [`ParsingCheck::Full`].
    ///
    /// # Errors
    ///
    /// When the text is no schema, a type cannot be parsed from JSON, a name stands there twice, or
    /// columns are planned with already.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_request("name STRING, sizes ARRAY<INT>")?
    ///     .make_reply(array_max(col("sizes")).alias("largest"))?
    ///     .test();
    /// service.post(r#"{"name":"hats","sizes":[56,61]}"#).expect(200, r#"{"largest":61}"#);
    /// let refused = service.post(r#"{"name":"hats","sizes":[56,"L"]}"#);
    /// assert!(refused.text().contains(r#"field `sizes[1]`: expected INT, received \"L\""#) ||
    ///     refused.text().contains("sizes[1]"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_request(self, schema: impl IntoSchema) -> Result<Self> {
        self.parse_request_with(schema, ParsingCheck::Full)
    }

    /// [`parse_request`](Self::parse_request) with another check.
    ///
    /// # Errors
    ///
    /// As of `parse_request`.
    pub fn parse_request_with(
        mut self,
        schema: impl IntoSchema,
        check: ParsingCheck,
    ) -> Result<Self> {
        let fields = schema::of_requests(&*schema.into_schema()?, check)?;
        let rows = RowsOf::One;
        self.source_mut()?.body = Body::Json {
            fields,
            check,
            rows,
        };
        self.checked()
    }

    /// Parses the JSON body of each request into rows: an array of objects is a row for each of them, an
    /// object is one row. All rows of a request have its `id`.
    ///
    /// A request is answered with an array of its replies, in the order of its rows, without those that
    /// were filtered; an empty one for none. [`ReplyMode::First`](crate::ReplyMode::First) answers with the first alone. An
    /// object that does not fit is the whole request's 400, which names it: `[3].foo`. A request has
    /// 65,536 rows at most.
    ///
    /// # Errors
    ///
    /// As of [`parse_request`](Self::parse_request).
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_rows("word STRING")?
    ///     .make_reply(upper(col("word")).alias("loud"))?
    ///     .test();
    /// service
    ///     .post(r#"[{"word":"left"},{"word":"right"}]"#)
    ///     .expect(200, r#"["LEFT","RIGHT"]"#);
    /// service.post("[]").expect(200, "[]");
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_rows(self, schema: impl IntoSchema) -> Result<Self> {
        self.parse_rows_with(schema, ParsingCheck::Full)
    }

    /// [`parse_rows`](Self::parse_rows) with another check.
    ///
    /// # Errors
    ///
    /// As of [`parse_request`](Self::parse_request).
    pub fn parse_rows_with(mut self, schema: impl IntoSchema, check: ParsingCheck) -> Result<Self> {
        let fields = schema::of_requests(&*schema.into_schema()?, check)?;
        let rows = RowsOf::Many;
        self.source_mut()?.body = Body::Json {
            fields,
            check,
            rows,
        };
        self.checked()
    }

    /// The body of each request as a column of bytes, `bytes`.
    ///
    /// # Errors
    ///
    /// When columns are planned with already.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_bytes()?
    ///     .make_reply(col("bytes"))?
    ///     .test();
    /// service.post([0xff, 0]).expect(200, [0xff, 0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_bytes(mut self) -> Result<Self> {
        self.source_mut()?.body = Body::Bytes("bytes".to_owned());
        self.checked()
    }

    /// The body of each request as a column of texts, `text`. One that is not UTF-8 is answered 400.
    ///
    /// # Errors
    ///
    /// As of [`parse_bytes`](Self::parse_bytes).
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_text()?
    ///     .make_reply(upper(col("text")))?
    ///     .test();
    /// service.post("four").expect(200, "FOUR");
    /// assert_eq!(service.post([0xff]).status, 400);
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_text(mut self) -> Result<Self> {
        self.source_mut()?.body = Body::Text("text".to_owned());
        self.checked()
    }

    /// Query parameters as columns, so that a GET is a request like any other. One that is not there
    /// is null, unless its column is `NOT NULL`; of several of a name the first counts. One that does
    /// not fit is answered 400, if the plan reads its column.
    ///
    /// # Errors
    ///
    /// As of [`parse_request`](Self::parse_request); and when a type is no single value.
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let mut service = Pipeline::detached()
    ///     .columns()
    ///     .parse_query("name STRING, times INT")?
    ///     .make_reply(repeat(col("name"), cast(col("times"), DataType::Int64)))?
    ///     .test();
    /// service.get("/?name=a%20b&times=2").expect(200, "a ba b");
    /// assert_eq!(service.get("/?name=a&times=two").status, 400);
    /// # use snapback_sql::datafusion::arrow::datatypes::DataType;
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_query(mut self, schema: impl IntoSchema) -> Result<Self> {
        let fields = schema::of_texts(&*schema.into_schema()?)?;
        self.source_mut()?.query = fields;
        self.checked()
    }

    /// Header fields as columns, in the same way. A column `user_agent` is the field `User-Agent`.
    ///
    /// # Errors
    ///
    /// As of [`parse_query`](Self::parse_query).
    ///
    /// ```
    /// # use snapback::Pipeline;
    /// # use snapback_sql::prelude::*;
    /// # fn main() -> snapback_sql::Result<()> {
    /// let replies = Pipeline::detached()
    ///     .columns()
    ///     .parse_headers("user_agent STRING")?
    ///     .make_reply(col("user_agent"))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_headers(mut self, schema: impl IntoSchema) -> Result<Self> {
        let fields = schema::of_texts(&*schema.into_schema()?)?;
        self.source_mut()?.headers = fields;
        self.checked()
    }

    /// What the stream has, before anything is planned with it.
    fn source_mut(&mut self) -> Result<&mut Sources> {
        match &self.steps {
            None => Ok(&mut self.source.0),
            Some(steps) => Err(SqlError::Parsed {
                columns: steps.schema().field_names().join(", "),
            }),
        }
    }

    fn checked(self) -> Result<Self> {
        schema::distinct(&self.source.0.schema())?;
        Ok(self)
    }
}
