//! Compiling a function with Cargo.
//!
//! A single file becomes a crate of its own in `.chalk/crates/NAME/`, whose library is the file where it is: errors of the compiler
//! show it. Its lock file begins as the one that this project's own functions are tested with, because the interface's Arrow does not
//! compile with newer versions of what it uses.

use crate::folder::Folder;
use crate::identity::INTERFACE;
use crate::shelf::{Record, ShelfError};
use crate::source::{Form, Source, SourceError, dependencies_in, package_of};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};
use toml_edit::{DocumentMut, Item, Table, value};
use xxhash_rust::xxh3::xxh3_64;

/// Newest chrono that arrow 51 compiles with.
const CHRONO: &str = "=0.4.39";

/// How functions are compiled.
#[derive(Clone, Debug)]
pub struct Building<'a> {
    /// Whether Cargo may not use the network.
    pub offline: bool,
    /// The lock file that those of single files begin as.
    pub lock: &'a str,
}

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The source is at fault.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The compiler refused, and has said why.
    #[error("{} was not built", .0.display())]
    Refused(PathBuf),
    /// Cargo could not be asked.
    #[error("{0}")]
    Cargo(String),
    /// It cannot be kept.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Io { path, source }
}

impl Building<'_> {
    /// Compiles a function and keeps the library. What the compiler says goes to standard error as it is.
    ///
    /// # Errors
    /// When it does not compile, or cannot be kept.
    pub fn build(&self, folder: &Folder, source: &Source) -> Result<Record, BuildError> {
        let shelf = folder.shelf();
        shelf.keep_out_of_git().map_err(at(shelf.scratch()))?;
        let library = match source.form {
            Form::Crate => self.cargo(folder, &source.path, source)?,
            Form::File => {
                let made = self.crate_of(folder, source)?;
                let library = self.cargo(folder, &made, source)?;
                if has_dependencies(source)? {
                    let lock = source.path.with_extension("lock");
                    fs::copy(made.join("Cargo.lock"), &lock).map_err(at(&lock))?;
                }
                library
            }
        };
        // Its dependencies are known only now.
        let built = read_again(source)?;
        Ok(shelf.put(&built.declaration, &hash_of(&built)?, &library, compiler())?)
    }

    /// Keeps a library that was compiled elsewhere, as it is, as that of a source.
    ///
    /// # Errors
    /// When it cannot be kept, or nothing says what the source is built with.
    pub fn adopt(folder: &Folder, source: &Source, library: &Path) -> Result<Record, BuildError> {
        Ok(folder.shelf().put(&source.declaration, &hash_of(source)?, library, None)?)
    }

    /// Writes the crate that a single file is compiled as.
    fn crate_of(&self, folder: &Folder, source: &Source) -> Result<PathBuf, BuildError> {
        let name = &source.declaration.name;
        let made = folder.shelf().scratch().join("crates").join(name);
        fs::create_dir_all(&made).map_err(at(&made))?;
        let file = source.path.canonicalize().map_err(at(&source.path))?;
        let mut manifest = DocumentMut::new();
        let package = [("name", package_of(name)), ("version", "0.0.0".to_owned()), ("edition", "2021".to_owned())];
        manifest.insert("package", table(package));
        // A name of its own for each text: a target folder can be shared by projects.
        let library = format!("{name}_{:016x}", xxh3_64(format!("{}\n{}", file.display(), source.text).as_bytes()));
        manifest.insert("lib", table([("name", library), ("path", file.display().to_string())]));
        manifest["lib"]["crate-type"] = value(toml_edit::Array::from_iter(["cdylib"]));
        let comment = dependencies_in(&source.text, &source.path)?.unwrap_or_default();
        for (key, item) in comment.iter() {
            manifest.insert(key, item.clone());
        }
        let beside = file.parent().unwrap_or(Path::new("/")).to_owned();
        let dependencies = manifest.entry("dependencies").or_insert_with(|| Item::Table(Table::new()));
        let Some(dependencies) = dependencies.as_table_like_mut() else {
            return Err(SourceError::new(&source.path, "its dependencies are no table").into());
        };
        for (_, item) in dependencies.iter_mut() {
            if let Some(path) = item.get("path").and_then(Item::as_str) {
                let path = beside.join(path).display().to_string();
                item["path"] = value(path);
            }
        }
        for (name, version) in [(INTERFACE, "0.2"), ("chrono", CHRONO)] {
            if dependencies.get(name).is_none() {
                dependencies.insert(name, value(version));
            }
        }
        // It is in nobody's workspace, wherever the project lies.
        manifest.insert("workspace", Item::Table(Table::new()));
        let write = |name: &str, text: &str| {
            let path = made.join(name);
            // Cargo looks at times: what is the same is left alone.
            if fs::read_to_string(&path).is_ok_and(|before| before == text) {
                return Ok(());
            }
            fs::write(&path, text).map_err(at(&path))
        };
        write("Cargo.toml", &manifest.to_string())?;
        let lock = source.path.with_extension("lock");
        match fs::read_to_string(&lock) {
            Ok(text) => write("Cargo.lock", &text)?,
            Err(_) if made.join("Cargo.lock").exists() => {}
            Err(_) => write("Cargo.lock", self.lock)?,
        }
        Ok(made)
    }

    /// Compiles the crate in a folder; gives its library.
    fn cargo(&self, folder: &Folder, of: &Path, source: &Source) -> Result<PathBuf, BuildError> {
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder.shelf().scratch().join("target"), PathBuf::from);
        let mut command = Command::new(program("CARGO", "cargo"));
        command.args(["build", "--release", "--message-format", "json-render-diagnostics", "--manifest-path"]);
        command.arg(of.join("Cargo.toml")).arg("--target-dir").arg(target);
        if self.offline {
            command.arg("--offline");
        }
        if !io::stderr().is_terminal() {
            command.arg("--quiet");
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| {
            BuildError::Cargo(format!(
                "cargo cannot be run: {error}\n  hint: functions are compiled with Rust: https://rustup.rs"
            ))
        })?;
        if !output.status.success() {
            return Err(BuildError::Refused(source.path.clone()));
        }
        let of = of.canonicalize().map_err(at(of))?;
        let lines = output.stdout.split(|&byte| byte == b'\n');
        let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let is_library = |message: &Value| {
            message["reason"] == "compiler-artifact"
                && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == of.join("Cargo.toml"))
                && message["target"]["crate_types"]
                    .as_array()
                    .is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
        };
        let mut libraries = messages.filter(is_library).filter_map(|message| {
            let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
            files
                .map(PathBuf::from)
                .find(|file| file.extension().is_some_and(|ending| ending == env::consts::DLL_EXTENSION))
        });
        libraries
            .next()
            .ok_or_else(|| BuildError::Cargo(format!("cargo says of no library of {}", source.path.display())))
    }
}

fn read_again(source: &Source) -> Result<Source, BuildError> {
    let again = Source::at(&source.path)?;
    Ok(again.ok_or_else(|| SourceError::new(&source.path, "it is a function's crate no more"))?)
}

fn hash_of(source: &Source) -> Result<String, BuildError> {
    source.content_hash.clone().map_err(|error| SourceError::new(&source.path, error.to_string()).into())
}

fn has_dependencies(source: &Source) -> Result<bool, BuildError> {
    let comment = dependencies_in(&source.text, &source.path)?;
    let dependencies = comment.as_ref().and_then(|comment| comment.get("dependencies")).and_then(Item::as_table_like);
    Ok(dependencies.is_some_and(|table| table.iter().any(|(name, _)| name != INTERFACE)))
}

fn table<const N: usize>(entries: [(&str, String); N]) -> Item {
    let mut table = Table::new();
    for (key, text) in entries {
        table.insert(key, value(text));
    }
    Item::Table(table)
}

fn program(variable: &str, name: &str) -> OsString {
    env::var_os(variable).unwrap_or_else(|| name.into())
}

/// What the compiler says it is.
fn compiler() -> Option<String> {
    let output = Command::new(program("RUSTC", "rustc")).arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
