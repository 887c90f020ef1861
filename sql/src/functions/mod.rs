//! Functions of SQL over requests and responses, by Spark Serving's names.

mod response;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::{Expr, SessionContext};

use crate::schema;
pub(crate) use response::ResponseRow;
use response::{Kind, ToResponse};
pub use response::{binary_to_response, empty_response, string_to_response};

/// Makes the functions of this crate known to a context.
pub(crate) fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(RequestToString::new()));
    for kind in [Kind::Text, Kind::Bytes, Kind::Empty] {
        context.register_udf(ScalarUDF::from(ToResponse::new(kind)));
    }
}

/// The body of a request as a text: Spark Serving's `request_to_string`. A request whose body is not
/// UTF-8 is answered 400.
pub fn request_to_string(request: Expr) -> Expr {
    ScalarUDF::from(RequestToString::new()).call(vec![request])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RequestToString {
    signature: Signature,
}

impl RequestToString {
    fn new() -> Self {
        RequestToString {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for RequestToString {
    fn name(&self) -> &str {
        "request_to_string"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if arguments != [schema::request_field().data_type().clone()] {
            return plan_err!("request_to_string takes the column `request`, not {arguments:?}");
        }
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let requests = ColumnarValue::values_to_arrays(&arguments.args)?;
        let entity = requests[0].as_struct().column(2);
        let bodies = entity.as_struct().column(0).as_binary::<i32>();
        let text = |body: Option<&[u8]>| match body.map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.to_owned())),
            Some(Err(_)) => Err(ArrowError::CastError("its body is not UTF-8".to_owned())),
        };
        let texts: std::result::Result<StringArray, ArrowError> = bodies.iter().map(text).collect();
        debug_assert_eq!(bodies.len(), requests[0].len());
        Ok(ColumnarValue::Array(Arc::new(texts?) as ArrayRef))
    }
}
