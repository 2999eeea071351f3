//! The homework graders as libraries: compiled where their sources are, and taken as they are, as any library that Arroyo runs.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use chalk_udf_host::{Building, Call, Folder, Loaded};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, TypeSignature};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// A copy of `udfs/` with its functions built.
pub(crate) struct Loadable {
    folder: TempDir,
}

impl Loadable {
    /// Compiles them into `target`.
    pub(crate) fn build(target: &Path) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../udfs");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(sources.join("Cargo.toml"));
        let status = cargo.arg("--target-dir").arg(target).status().expect("cargo runs");
        assert!(status.success(), "the graders do not compile");
        let folder = tempfile::tempdir().expect("a folder");
        copy(&sources, folder.path());
        let read = Folder::read(folder.path()).expect("a readable folder");
        assert_eq!(read.mistakes, []);
        for source in &read.sources {
            let library =
                format!("{}{}{}", std::env::consts::DLL_PREFIX, source.declaration.name, std::env::consts::DLL_SUFFIX);
            Building::adopt(&read, source, &target.join("release").join(library)).expect("room");
        }
        Self { folder }
    }

    /// All of them, run as these settings of each say; `program` is what workers are.
    pub(crate) fn load(&self, settings: &str, program: &[OsString]) -> Vec<Loaded> {
        let names = Folder::read(self.folder.path()).expect("a readable folder").sources;
        let text: String = names.iter().map(|source| format!("[{}]\n{settings}\n", source.declaration.name)).collect();
        std::fs::write(self.folder.path().join("udfs.toml"), text).expect("a file");
        let folder = Folder::read(self.folder.path()).expect("a readable folder");
        assert_eq!(folder.mistakes, []);
        let load = |source| Loaded::of(&folder, source, program, None).expect("a built function");
        folder.sources.iter().map(load).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a readable folder") {
        let path: PathBuf = entry.expect("a readable folder").path();
        let name = path.file_name().expect("a name");
        // Builds of whoever works here.
        if name == ".chalk" || name == "target" {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).expect("a readable file");
        }
    }
}

/// The scalar function that a loaded one is.
pub(crate) fn scalar(loaded: &Loaded) -> &ScalarUDF {
    match &loaded.call {
        Call::Scalar(udf) => udf,
        Call::Aggregate(_) | Call::Recorded(..) => panic!("{} is not called with columns", loaded.identity),
    }
}

/// Arguments as the function takes them.
pub(crate) fn arguments(function: &ScalarUDF, columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let TypeSignature::Exact(types) = &function.signature().type_signature else { panic!("types that are given") };
    columns.iter().zip(types).map(|(column, wanted)| cast(column, wanted).expect("a cast")).collect()
}

/// What a function gives for arguments of its types.
pub(crate) fn call(function: &ScalarUDF, arguments: &[ArrayRef]) -> ArrayRef {
    let rows = arguments[0].len();
    let types: Vec<DataType> = arguments.iter().map(|argument| argument.data_type().clone()).collect();
    let returns = function.return_type(&types).expect("a type");
    let result = function.invoke_with_args(ScalarFunctionArgs {
        args: arguments.iter().cloned().map(ColumnarValue::Array).collect(),
        arg_fields: types.into_iter().map(|of| Arc::new(Field::new("argument", of, true))).collect(),
        number_rows: rows,
        return_field: Arc::new(Field::new("result", returns, true)),
        config_options: Arc::new(ConfigOptions::default()),
    });
    let result = result.unwrap_or_else(|error| panic!("{}: {error}", function.name()));
    result.into_array(rows).expect("a column")
}
