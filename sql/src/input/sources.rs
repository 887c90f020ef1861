//! Which columns a stream of requests has, and where each comes from.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

use crate::parsing_check::ParsingCheck;
use crate::schema;

/// The columns of a stream before anything is planned with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) body: Body,
    /// Query parameters, by name.
    pub(crate) query: Fields,
    /// Header fields, by name.
    pub(crate) headers: Fields,
}

/// What becomes of the body.
#[derive(Clone, Debug, Default)]
pub(crate) enum Body {
    /// It stays what it is, in the column `request`.
    #[default]
    Unparsed,
    /// JSON, into a column for each field.
    Json {
        fields: Fields,
        check: ParsingCheck,
        rows: RowsOf,
    },
    /// A column of this name with the bytes.
    Bytes(String),
    /// A column of this name with the text.
    Text(String),
}

/// How many rows a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowsOf {
    /// One: its root is an object.
    One,
    /// One for each object of an array, or one.
    Many,
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Id,
    Request,
    /// The field of the body with this index.
    Body(usize),
    /// The whole body.
    WholeBody,
    /// The query parameter with this index.
    Query(usize),
    /// The header field with this index.
    Header(usize),
}

impl Sources {
    /// Whether a request may have several rows, or none.
    pub(crate) fn has_rows(&self) -> bool {
        let rows = RowsOf::Many;
        matches!(&self.body, Body::Json { rows: own, .. } if *own == rows)
    }

    /// All columns, in their order: the id, the request, then those of the body, of the query, of the
    /// headers.
    pub(crate) fn columns(&self) -> Vec<(FieldRef, Source)> {
        let mut columns = vec![
            (Arc::new(schema::id_field()), Source::Id),
            (Arc::new(schema::request_field()), Source::Request),
        ];
        let mut add = |fields: &Fields, source: fn(usize) -> Source| {
            let fields = fields.iter().cloned().enumerate();
            columns.extend(fields.map(|(index, field)| (field, source(index))));
        };
        let whole = |name: &String, data_type| -> Fields {
            vec![Field::new(name, data_type, false)].into()
        };
        match &self.body {
            Body::Unparsed => {}
            Body::Json { fields, .. } => add(fields, Source::Body),
            Body::Bytes(name) => add(&whole(name, DataType::Binary), |_| Source::WholeBody),
            Body::Text(name) => add(&whole(name, DataType::Utf8), |_| Source::WholeBody),
        }
        add(&self.query, Source::Query);
        add(&self.headers, Source::Header);
        columns
    }

    /// All columns as a schema.
    pub(crate) fn schema(&self) -> Schema {
        let fields = self.columns().into_iter().map(|(field, _)| field);
        Schema::new(fields.collect::<Fields>())
    }

    /// Where the columns at these places come from.
    pub(crate) fn at(&self, places: &[usize]) -> Vec<Source> {
        let columns = self.columns();
        let source = |place: &usize| columns.get(*place).map(|(_, source)| *source);
        places.iter().filter_map(source).collect()
    }
}
