//! Functions linked into the binary.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use chalk_catalog::FunctionIdentity;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A function that SQL can call, and who it is.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name and content hash.
    pub identity: FunctionIdentity,
    /// As DataFusion calls it.
    pub udf: Arc<ScalarUDF>,
}

/// One result per row of the argument columns, which are all of one length and of the declared types.
type Body = dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync;

/// A vectorised function over whole columns.
///
/// It must be pure: the same arguments give the same results, since replay calls it again.
pub fn native(
    identity: FunctionIdentity,
    arguments: Vec<DataType>,
    returns: DataType,
    body: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Function {
    let signature = if arguments.is_empty() {
        Signature::nullary(Volatility::Immutable)
    } else {
        Signature::exact(arguments, Volatility::Immutable)
    };
    let native = Native { identity: identity.clone(), signature, returns, body: Arc::new(body) };
    Function { identity, udf: Arc::new(ScalarUDF::from(native)) }
}

struct Native {
    identity: FunctionIdentity,
    signature: Signature,
    returns: DataType,
    body: Arc<Body>,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.identity)
    }
}

impl PartialEq for Native {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.signature == other.signature
    }
}

impl Eq for Native {}

impl Hash for Native {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl ScalarUDFImpl for Native {
    fn name(&self) -> &str {
        &self.identity.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        (self.body)(&columns).map(ColumnarValue::Array)
    }
}
