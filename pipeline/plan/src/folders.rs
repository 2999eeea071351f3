//! Which folder of a `filesystem` sink a row goes to: a column more of what is inserted, that is not written.
//!
//! ```text
//! partitioning.time_pattern = '%Y/%m/%d', partitioning.fields = [class, level]
//!
//! event time 2025-09-01T08:00:00Z, class 7b, level 2   ──▶   2025/09/01/class=7b/level=2
//! ```
//!
//! The order, and `name=value`, are Arroyo's and Hive's. What a path cannot have, or others take for something else in it, is written as
//! `%2F`; NULL is [`NULL`], as in Hive; of a folder's name that a file system would not take, the end is a hash.

use crate::error::Mistake;
use crate::event_time;
use crate::scalar::ROW_TIME;
use crate::table::PlannedTable;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, TimestampNanosecondType};
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use chalk_graph::did_you_mean;
use chalk_graph::options::{Partitioning, TableOptions};
use chrono::format::{Item, StrftimeItems};
use datafusion::common::{Column, Result as DataFusionResult, exec_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};
use std::fmt::Write as _;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The column's name.
pub(crate) const FOLDER: &str = "_folder";
/// The value of a column that is NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Rows without event time are in this folder.
const NO_TIME: &str = "no_event_time";
/// The event time, where a query does not select it.
const TIME: &str = "_folder_time";
/// A longer name of a folder is no name for many file systems.
const NAME_BYTES_MAX: usize = 255;
/// How many digits the hash has that such a name ends with, and the `~` before it.
const HASH_BYTES: usize = 17;

/// How the rows of a table are divided among folders, when they are.
pub(crate) fn partitioning(table: &PlannedTable) -> Option<&Partitioning> {
    match &table.options {
        TableOptions::Filesystem(directory) if !directory.partitioning.is_none() => Some(&directory.partitioning),
        _ => None,
    }
}

/// Which folder a row goes to, over a query.
pub(crate) struct Folder {
    /// Its name: an expression.
    pub(crate) name: Expr,
    /// How many of the query's columns are inserted: the first ones.
    pub(crate) after: usize,
}

/// A query whose rows go into such a table, and which folder they go to.
pub(crate) fn with_folder(
    table: &PlannedTable,
    partitioning: &Partitioning,
    plan: LogicalPlan,
    state: &SessionState,
) -> Result<(LogicalPlan, Folder), Mistake> {
    let declared = table.schema.fields().iter().map(|field| field.name().as_str());
    let given: Vec<Column> = plan.schema().columns();
    let names: Vec<String> = match table.schema.fields().is_empty() {
        true => given.iter().map(|column| column.name.clone()).collect(),
        false => declared.map(str::to_owned).collect(),
    };
    let mut args = Vec::new();
    for field in &partitioning.fields {
        let place = names.iter().position(|name| name == field);
        let Some((place, column)) = place.and_then(|place| Some((place, given.get(place)?))) else {
            let mistake = Mistake::new(format!("table '{}': partitioning.fields: no column is '{field}'", table.name));
            let near = did_you_mean(field, names.iter().map(String::as_str));
            return Err(match near {
                Some(near) => mistake.hint(format!("did you mean '{near}'?")),
                None => mistake.hint(format!("its columns are {}", names.join(", "))),
            });
        };
        let known = plan.schema().field(place).data_type();
        let wanted = table.schema.fields().get(place).map_or(known, |field| field.data_type());
        if wanted.is_nested() || *wanted == DataType::Binary {
            let message =
                format!("table '{}': partitioning.fields: column '{field}' is no text for a name", table.name);
            return Err(
                Mistake::new(message).hint("folders are named by plain values, such as texts, numbers and dates")
            );
        }
        let value = Expr::Column(column.clone());
        let value = if known == wanted { value } else { cast(value, wanted.clone()) };
        args.push(cast(value, DataType::Utf8));
    }
    let mut plan = plan;
    if let Some(pattern) = &partitioning.time_pattern {
        if StrftimeItems::new(pattern).any(|item| item == Item::Error) {
            let message =
                format!("table '{}': partitioning.time_pattern = '{pattern}' is no pattern of a time", table.name);
            return Err(Mistake::new(message).hint("such as '%Y/%m/%d/%H'; a % itself is '%%'"));
        }
        let time;
        (plan, time) = with_event_time(&table.name, plan, state)?;
        args.push(time);
    }
    let function = FolderOf {
        time_pattern: partitioning.time_pattern.clone(),
        names: partitioning.fields.clone(),
        signature: Signature::variadic_any(Volatility::Immutable),
    };
    let name = ScalarUDF::from(function).call(args).alias(FOLDER);
    Ok((plan, Folder { name, after: given.len() }))
}

/// The query with its event time, which is a column of the SELECT, or else of what it selects from.
fn with_event_time(table: &str, plan: LogicalPlan, state: &SessionState) -> Result<(LogicalPlan, Expr), Mistake> {
    let row_time = state.scalar_functions().get(ROW_TIME).map(|function| function.call(Vec::new()).alias(TIME));
    let Some(row_time) = row_time else { return Err(Mistake::new("this session has no row_time()")) };
    let time = Expr::Column(Column::from_name(TIME));
    let below = match &plan {
        LogicalPlan::Projection(projection) => Some((projection.expr.clone(), projection.input.as_ref().clone())),
        _ => None,
    };
    let own = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let with_time = |mut columns: Vec<Expr>, input: LogicalPlan| {
        columns.push(row_time.clone());
        event_time::resolve(LogicalPlanBuilder::from(input).project(columns)?.build()?)
    };
    let error = match with_time(own, plan) {
        Ok(plan) => return Ok((plan, time)),
        Err(error) => error,
    };
    if let Some((columns, input)) = below
        && let Ok(plan) = with_time(columns, input)
    {
        return Ok((plan, time));
    }
    let why = Mistake::from(error).message.replace(&format!("{ROW_TIME}: "), "");
    Err(Mistake::new(format!("table '{table}': partitioning.time_pattern: {why}")))
}

/// Makes the name of a row's folder of the values of columns and its event time, if there is a pattern for that.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FolderOf {
    time_pattern: Option<String>,
    names: Vec<String>,
    signature: Signature,
}

impl ScalarUDFImpl for FolderOf {
    fn name(&self) -> &str {
        FOLDER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        if columns.len() != self.names.len() + usize::from(self.time_pattern.is_some()) {
            return exec_err!("a folder has a name for each column");
        }
        let (values, time) = columns.split_at(self.names.len());
        let items: Vec<Item<'_>> = self.time_pattern.iter().flat_map(|pattern| StrftimeItems::new(pattern)).collect();
        let folder = |row: usize| {
            let mut folder = time.first().map(|time| time_folder(&items, time, row)).unwrap_or_default();
            for (name, values) in self.names.iter().zip(values) {
                if !folder.is_empty() {
                    folder.push('/');
                }
                folder.push_str(&value_folder(name, values, row));
            }
            folder
        };
        Ok(ColumnarValue::Array(Arc::new(StringArray::from_iter_values((0..rows).map(folder)))))
    }
}

fn time_folder(items: &[Item<'_>], time: &ArrayRef, row: usize) -> String {
    let time = time.as_primitive_opt::<TimestampNanosecondType>().filter(|time| time.is_valid(row));
    let Some(time) = time.and_then(|time| timestamp_ns_to_datetime(time.value(row))) else {
        return NO_TIME.to_owned();
    };
    let text = time.and_utc().format_with_items(items.iter()).to_string();
    let names: Vec<String> = text.split('/').map(|name| as_name(name, &[':', '='])).collect();
    names.join("/")
}

fn value_folder(name: &str, values: &ArrayRef, row: usize) -> String {
    let values = values.as_string::<i32>();
    let value = if values.is_valid(row) { as_name(values.value(row), &[]) } else { NULL.to_owned() };
    short(format!("{}={value}", as_name(name, &[])))
}

/// A text as a part of a folder's name.
fn as_name(text: &str, allowed: &[char]) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        if !allowed.contains(&c) && (c.is_control() || "\"#%'*/:=?\\{[]^".contains(c)) {
            c.to_string().bytes().for_each(|byte| write!(name, "%{byte:02X}").unwrap_or_default());
        } else {
            name.push(c);
        }
    }
    name
}

/// The name, if it is not too long for one.
fn short(mut name: String) -> String {
    if name.len() > NAME_BYTES_MAX {
        let hash = xxh3_64(name.as_bytes());
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX - HASH_BYTES));
        write!(name, "~{hash:016x}").unwrap_or_default();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &str) {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values([value]));
        assert_eq!(value_folder("class", &values, 0), expected);
    }

    #[test]
    fn values_are_names_of_one_folder() {
        check("7b", "class=7b");
        check("", "class=");
        check("../..", "class=..%2F..");
        check("a=b%\n\u{85}", "class=a%3Db%25%0A%C2%85");
        check("七年级", "class=七年级");
        let long = "七".repeat(100);
        let values: ArrayRef = Arc::new(StringArray::from_iter_values([long.clone(), long + "x"]));
        let names: Vec<String> = (0..2).map(|row| value_folder("class", &values, row)).collect();
        assert!(names[0] != names[1] && names.iter().all(|name| name.len() <= NAME_BYTES_MAX && name.len() > 250));
        let null: ArrayRef = Arc::new(StringArray::from_iter([None::<&str>]));
        assert_eq!(value_folder("class", &null, 0), "class=__HIVE_DEFAULT_PARTITION__");
    }
}
