//! A library with the declaration of its function: called with columns, it gives one.

use crate::declaration::{Declaration, Kind};
use crate::raw::{RawLibrary, RawRun};
use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::path::Path;
use std::sync::Arc;

/// The columns that a function is called with: of an aggregate lists of values, a row for each group; of an async function the ids of rows
/// come first.
pub(crate) fn argument_schema(declaration: &Declaration) -> SchemaRef {
    let ids = matches!(declaration.kind, Kind::Async(_)).then(id_field);
    let fields = declaration.arguments.iter().map(|argument| {
        let value = argument.value.value_type.arrow();
        let data_type = match declaration.kind {
            Kind::Aggregate => DataType::new_list(value, true),
            Kind::Scalar | Kind::Async(_) => value,
        };
        Field::new(&argument.name, data_type, true)
    });
    // Names can be the same: `_`, for one, stands for what is not used.
    Arc::new(Schema::new(ids.into_iter().chain(fields).collect::<Vec<_>>()))
}

/// The column that comes back.
pub(crate) fn result_schema(declaration: &Declaration) -> SchemaRef {
    let ids = matches!(declaration.kind, Kind::Async(_)).then(id_field);
    let result = Field::new("result", declaration.returns.value_type.arrow(), true);
    Arc::new(Schema::new(ids.into_iter().chain([result]).collect::<Vec<_>>()))
}

fn id_field() -> Field {
    Field::new("_id", DataType::UInt64, false)
}

/// A loaded library.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    raw: RawLibrary,
    declaration: Declaration,
}

/// What a call came to that gave no column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Panicked,
    Malformed(String),
}

impl Library {
    pub(crate) fn load(path: &Path, declaration: &Declaration) -> Result<Self, String> {
        Ok(Self { raw: RawLibrary::load(path)?, declaration: declaration.clone() })
    }

    /// Calls it with columns of the argument schema, which have one length; gives a row for each of theirs.
    pub(crate) fn call(&self, columns: &[ArrayRef]) -> Result<ArrayRef, Fault> {
        let rows = columns.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(new_empty_array(&self.declaration.returns.value_type.arrow()));
        }
        if self.declaration.kind != Kind::Aggregate {
            return self.run(columns, rows);
        }
        let group = |row: usize| {
            let values: Vec<ArrayRef> = columns.iter().map(|column| column.as_list::<i32>().value(row)).collect();
            self.run(&values, 1)
        };
        let results = (0..rows).map(group).collect::<Result<Vec<_>, _>>()?;
        let results: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
        concat(&results).map_err(|error| Fault::Malformed(error.to_string()))
    }

    fn run(&self, arguments: &[ArrayRef], wanted: usize) -> Result<ArrayRef, Fault> {
        match self.raw.run(arguments, self.declaration.returns.value_type) {
            RawRun::Given(array) if array.len() == wanted => Ok(array),
            RawRun::Given(array) => Err(Fault::Malformed(format!("it has {} rows and not {wanted}", array.len()))),
            RawRun::Panicked => Err(Fault::Panicked),
            RawRun::Malformed(why) => Err(Fault::Malformed(why)),
        }
    }
}
