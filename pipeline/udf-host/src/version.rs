//! `udf_version('name')`: who a function is.

use crate::native::{Function, native};
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use chalk_catalog::FunctionIdentity;
use datafusion::common::plan_err;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The function `udf_version(name)` over functions of these identities: gives `name@hash`, and an error for a name that is not among them.
#[must_use]
pub fn version_function(functions: &[FunctionIdentity]) -> Function {
    let known: BTreeMap<String, String> =
        functions.iter().map(|identity| (identity.name.clone(), identity.to_string())).collect();
    let identity = FunctionIdentity { name: "udf_version".to_owned(), content_hash: "1".to_owned() };
    native(identity, vec![DataType::Utf8], DataType::Utf8, move |arguments| {
        let names = arguments[0].as_string::<i32>();
        let versions: datafusion::common::Result<StringArray> = names
            .iter()
            .map(|name| match name.map(|name| (name, known.get(name))) {
                None => Ok(None),
                Some((_, Some(version))) => Ok(Some(version.as_str())),
                Some((name, None)) => {
                    let known: Vec<&str> = known.keys().map(String::as_str).collect();
                    plan_err!("udf_version: there is no function '{name}'; known are {}", known.join(", "))
                }
            })
            .collect();
        Ok(Arc::new(versions?) as ArrayRef)
    })
}
