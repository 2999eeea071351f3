//! Functions that PostgreSQL's clients call and that neither DataFusion nor `datafusion-pg-catalog` has, or answers as if
//! this were PostgreSQL.

use super::settings::{SERVER_VERSION, SETTINGS};
use arrow::array::{Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Who owns everything, as far as clients ask.
pub(super) const OWNER: &str = "chalk";

/// Adds the functions to a session.
pub(super) fn register(context: &SessionContext) {
    let text = |value: &str| ScalarValue::from(value);
    let no_text = || ScalarValue::Utf8(None);
    let version = format!("PostgreSQL {SERVER_VERSION}");
    let constants = [
        ("version", text(&version)),
        ("session_user", text(OWNER)),
        ("pg_get_userbyid", text(OWNER)),
        ("col_description", no_text()),
        ("obj_description", no_text()),
        ("shobj_description", no_text()),
        ("pg_get_viewdef", no_text()),
        ("pg_get_ruledef", no_text()),
        ("pg_get_triggerdef", no_text()),
        ("pg_get_indexdef", no_text()),
        ("pg_get_functiondef", no_text()),
        ("pg_get_function_result", no_text()),
        ("pg_get_function_arguments", no_text()),
        ("pg_get_function_identity_arguments", no_text()),
        ("pg_get_serial_sequence", no_text()),
        ("pg_tablespace_location", text("")),
        ("inet_server_addr", no_text()),
        ("inet_client_addr", no_text()),
        ("pg_my_temp_schema", ScalarValue::from(0_i32)),
        ("pg_is_other_temp_schema", ScalarValue::from(false)),
        ("pg_is_in_recovery", ScalarValue::from(false)),
        ("pg_get_function_sqlbody", no_text()),
        ("pg_size_pretty", text("0 bytes")),
        ("pg_char_to_encoding", ScalarValue::from(6_i32)),
        ("pg_type_is_visible", ScalarValue::from(true)),
        ("pg_function_is_visible", ScalarValue::from(true)),
        ("pg_opclass_is_visible", ScalarValue::from(true)),
        ("pg_operator_is_visible", ScalarValue::from(true)),
        ("pg_conversion_is_visible", ScalarValue::from(true)),
        ("pg_collation_is_visible", ScalarValue::from(true)),
        ("pg_statistics_obj_is_visible", ScalarValue::from(true)),
        ("pg_ts_config_is_visible", ScalarValue::from(true)),
        ("pg_ts_dict_is_visible", ScalarValue::from(true)),
        ("pg_ts_parser_is_visible", ScalarValue::from(true)),
        ("pg_ts_template_is_visible", ScalarValue::from(true)),
        ("has_column_privilege", ScalarValue::from(true)),
        ("has_function_privilege", ScalarValue::from(true)),
        ("has_sequence_privilege", ScalarValue::from(true)),
        ("has_type_privilege", ScalarValue::from(true)),
        ("pg_has_role", ScalarValue::from(true)),
        ("json_build_object", no_text()),
        ("getdatabaseencoding", text("UTF8")),
        ("pg_advisory_unlock_all", no_text()),
        ("pg_stat_get_tuples_returned", ScalarValue::from(0_i64)),
        ("pg_database_size", ScalarValue::from(0_i64)),
        ("pg_table_size", ScalarValue::from(0_i64)),
        ("pg_indexes_size", ScalarValue::from(0_i64)),
        ("to_regclass", ScalarValue::Int32(None)),
        ("to_regnamespace", ScalarValue::Int32(None)),
        ("to_regtype", ScalarValue::Int32(None)),
        ("txid_current", ScalarValue::from(0_i64)),
    ];
    for (name, value) in constants {
        let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        context.register_udf(ScalarUDF::from(Constant { name, value, signature }));
    }
    context.register_udf(ScalarUDF::from(Setting::new("current_setting")));
    context.register_udf(ScalarUDF::from(Setting::new("set_config")));
}

/// The same for every argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `current_setting(name [, missing_ok])`; `set_config(name, value, local)`, which gives the value and changes nothing.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Setting {
    name: &'static str,
    signature: Signature,
}

impl Setting {
    fn new(name: &'static str) -> Self {
        let exact = |types: &[DataType]| TypeSignature::Exact(types.to_vec());
        let (text, boolean) = (DataType::Utf8, DataType::Boolean);
        let types = match name {
            "set_config" => vec![exact(&[text.clone(), text, boolean])],
            _ => vec![exact(std::slice::from_ref(&text)), exact(&[text.clone(), boolean])],
        };
        Self { name, signature: Signature::one_of(types, Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Setting {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        if self.name == "set_config" {
            return Ok(ColumnarValue::Array(Arc::clone(&arrays[1])));
        }
        let missing_ok = arrays.get(1).is_some();
        let value = |name: Option<&str>| {
            let Some(name) = name else { return Ok(None) };
            match SETTINGS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, value)) => Ok(Some(value)),
                None if missing_ok => Ok(None),
                None => Err(DataFusionError::Configuration(format!("there is no setting '{name}'"))),
            }
        };
        let values = as_string_array(&arrays[0])?.iter().map(value).collect::<Result<StringArray>>()?;
        match (values.len(), args.number_rows) {
            (1, rows) if rows != 1 => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            _ => Ok(ColumnarValue::Array(Arc::new(values))),
        }
    }
}
