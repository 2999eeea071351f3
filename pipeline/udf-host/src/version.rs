//! `udf_version('name')`: who a function is.

use crate::builds::Builds;
use crate::native::Function;
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use chalk_catalog::FunctionIdentity;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The function `udf_version(name)` over these functions: gives `name@hash`, and an error for a name that is not among them. Of functions that have builds it is the one that
/// counts where it is asked; of the others it is known when a query is planned.
#[must_use]
pub fn version_function(functions: &[(FunctionIdentity, Option<Builds>)]) -> Function {
    let known =
        functions.iter().map(|(identity, builds)| (identity.name.clone(), (identity.to_string(), builds.clone())));
    let identity = FunctionIdentity { name: NAME.to_owned(), content_hash: "1".to_owned() };
    // What is not volatile is computed once, when a query is planned.
    let signature = Signature::exact(vec![DataType::Utf8], Volatility::Volatile);
    let version = Version { known: known.collect(), signature };
    Function { identity, udf: Arc::new(ScalarUDF::from(version)) }
}

const NAME: &str = "udf_version";

#[derive(Debug)]
struct Version {
    known: BTreeMap<String, (String, Option<Builds>)>,
    signature: Signature,
}

impl Version {
    fn of(&self, name: &str) -> Result<String> {
        match self.known.get(name) {
            Some((planned, builds)) => {
                let build = builds.as_ref().and_then(Builds::current);
                Ok(build.map_or_else(|| planned.clone(), |build| build.identity.to_string()))
            }
            None => {
                let known: Vec<&str> = self.known.keys().map(String::as_str).collect();
                plan_err!("udf_version: there is no function '{name}'; known are {}", known.join(", "))
            }
        }
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.known.values().map(|(identity, _)| identity).eq(other.known.values().map(|(identity, _)| identity))
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.known.values().for_each(|(identity, _)| identity.hash(state));
    }
}

impl ScalarUDFImpl for Version {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let [Expr::Literal(ScalarValue::Utf8(Some(name)), _)] = args.as_slice() {
            let version = self.of(name)?;
            if self.known.get(name).is_some_and(|(_, builds)| builds.is_none()) {
                return Ok(ExprSimplifyResult::Simplified(lit(version)));
            }
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [ColumnarValue::Scalar(ScalarValue::Utf8(name))] = args.args.as_slice() {
            let version = name.as_deref().map(|name| self.of(name)).transpose()?;
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(version)));
        }
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let names = columns[0].as_string::<i32>().iter();
        let versions: StringArray =
            names.map(|name| name.map(|name| self.of(name)).transpose()).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(versions) as ArrayRef))
    }
}
