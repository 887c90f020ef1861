//! What a column pipeline takes and answers, for its service's OpenAPI document.

use datafusion::arrow::datatypes::Fields;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::LogicalPlan;
use serde_json::json;
use snapback_operators::{Body as Taken, Content, Description, Parameter, ParameterPlace};

use crate::early::EarlyReply;
use crate::input::{Body, Reads, RowsOf, Source};
use crate::json_schema::{self, Way};
use crate::parsing_check::ParsingCheck;
use crate::planner::Planner;
use crate::reply::{ReplyColumn, ReplyMode};

/// Describes what is read of the requests, and the replies that the plans make as their only columns.
pub(crate) fn pipeline(
    reads: &Reads,
    planner: &Planner,
    column: &ReplyColumn,
    early: &[EarlyReply],
    mode: ReplyMode,
) -> Description {
    let plan = &planner.plan;
    let mut description = Description::default();
    description.body = body(reads);
    add_parameters(reads, &mut description.parameters);
    description.may_be_unanswered = match (reads.sources.has_rows(), mode) {
        // An array of rows may be empty, and so may the reply.
        (true, ReplyMode::Array) => false,
        (true, ReplyMode::First) => true,
        (false, _) => may_drop_rows(plan),
    };
    let last = column.content(plan.schema().field(0), mode);
    let early = early.iter().zip(&planner.early);
    let early = early.map(|(early, plan)| {
        early
            .reply
            .content(plan.schema().field(0), ReplyMode::First)
    });
    for content in early.chain([last]) {
        match content {
            Some(content) => description.replies.extend(content),
            None => description.answers_freely = true,
        }
    }
    description
}

fn body(reads: &Reads) -> Option<Taken> {
    let content = match &reads.sources.body {
        Body::Unparsed if reads.columns.contains(&Source::Request) => return None,
        Body::Unparsed => return Some(Taken::Unread),
        Body::Json {
            fields,
            check,
            rows,
        } => {
            let all_fields = *check == ParsingCheck::Full;
            let row = json_schema::of_fields(fields, Way::In { all_fields });
            Content::json(match rows {
                RowsOf::One => row,
                RowsOf::Many => json!({"anyOf": [{"type": "array", "items": row}, row]}),
            })
        }
        Body::Bytes(_) => Content::bytes(),
        Body::Text(_) => Content::new("text/plain", Content::text().schema),
    };
    // Under the check `none` every body is a row, an empty one too.
    let is_required = match &reads.sources.body {
        Body::Json { check, .. } => *check != ParsingCheck::None,
        _ => false,
    };
    Some(Taken::Taken {
        content,
        is_required,
    })
}

fn add_parameters(reads: &Reads, parameters: &mut Vec<Parameter>) {
    let mut add = |fields: &Fields, place, source: fn(usize) -> Source| {
        for (index, field) in fields.iter().enumerate() {
            let name = match place {
                ParameterPlace::Query => field.name().clone(),
                ParameterPlace::Header => field.name().replace('_', "-"),
            };
            // One that the plan does not read is not looked at.
            let is_required = !field.is_nullable() && reads.columns.contains(&source(index));
            let schema = json_schema::of_type(field.data_type(), Way::In { all_fields: true });
            parameters.push(Parameter::new(place, name, is_required, schema));
        }
    };
    add(&reads.sources.query, ParameterPlace::Query, Source::Query);
    add(
        &reads.sources.headers,
        ParameterPlace::Header,
        Source::Header,
    );
}

/// Whether a request may be left without a row: by anything but the steps that are known to keep all.
fn may_drop_rows(plan: &LogicalPlan) -> bool {
    let keeps_rows = |step: &LogicalPlan| {
        matches!(
            step,
            LogicalPlan::Projection(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
                | LogicalPlan::Window(_)
                | LogicalPlan::Sort(_)
        )
    };
    plan.exists(|step| Ok(!keeps_rows(step))).unwrap_or(true)
}
