//! The source of one function: a file in Arroyo's form, or a crate.

use crate::declaration::{Declaration, DeclarationError};
use crate::identity::{INTERFACE, IdentityError, Package, content_hash, file_hash};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};
use toml_edit::{Document, DocumentMut, Item, TableLike};

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One `.rs` file, its dependencies in the comment that it begins with.
    File,
    /// A folder with a `Cargo.toml`, whose library is a `cdylib`.
    Crate,
}

/// The source of one function, as read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file or the folder.
    pub path: PathBuf,
    /// Which of them.
    pub form: Form,
    /// What it declares.
    pub declaration: Declaration,
    /// The hash of its source and of what it is built with; an error before its dependencies were first resolved.
    pub content_hash: Result<String, IdentityError>,
    /// Its text: of a crate, of `src/lib.rs`.
    pub(crate) text: String,
}

/// A source that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// The file that the mistake is in.
    pub path: PathBuf,
    /// Where in it, line and column from 1, if it is at a place.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SourceError {
    pub(crate) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: None, message: message.into(), hint: None }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self::new(path, format!("it cannot be read: {error}"))
    }

    fn declaration(path: &Path, error: DeclarationError) -> Self {
        let DeclarationError { line, column, message, hint } = error;
        Self { path: path.to_owned(), place: Some((line, column)), message, hint }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

impl std::error::Error for SourceError {}

impl Source {
    /// The source at a path; `None` when it is a folder that is no function's crate.
    ///
    /// # Errors
    /// When it cannot be read, or declares no function that can be called.
    pub fn at(path: &Path) -> Result<Option<Self>, SourceError> {
        if path.is_dir() { Self::of_crate(path) } else { Self::of_file(path).map(Some) }
    }

    fn of_file(path: &Path) -> Result<Self, SourceError> {
        let text = fs::read_to_string(path).map_err(|error| SourceError::io(path, &error))?;
        let declaration = Declaration::read(&text).map_err(|error| SourceError::declaration(path, error))?;
        let stem = path.file_stem().unwrap_or_default();
        if stem != declaration.name.as_str() {
            let message = format!("its function is '{}'", declaration.name);
            let hint = format!("a file is named after its function: {}.rs", declaration.name);
            return Err(SourceError { hint: Some(hint), ..SourceError::new(path, message) });
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let dependencies = dependencies_in(&text, path)?;
        let mut named = Vec::new();
        let mut local = BTreeMap::new();
        for (key, item) in dependencies.iter().flat_map(DocumentMut::iter).filter(|(key, _)| *key == "dependencies") {
            let Some(table) = item.as_table_like() else {
                return Err(SourceError::new(path, format!("{key} is no table of dependencies")));
            };
            named.extend(table.iter().map(|(name, item)| package_name(name, item)).filter(|name| name != INTERFACE));
            find_local(table, folder, None, &mut local)?;
        }
        let lock = fs::read_to_string(path.with_extension("lock")).ok();
        let file = Package::of(&package_of(&declaration.name), [("lib.rs", text.as_str())]);
        let local: Vec<Package> = local.into_values().collect();
        let content_hash = file_hash(&file, &named, &local, lock.as_deref());
        Ok(Self { path: path.to_owned(), form: Form::File, declaration, content_hash, text })
    }

    fn of_crate(folder: &Path) -> Result<Option<Self>, SourceError> {
        let manifest_path = folder.join("Cargo.toml");
        let Ok(manifest) = fs::read_to_string(&manifest_path) else { return Ok(None) };
        let parse = |path: &Path, text: &str| {
            Document::parse(text.to_owned()).map_err(|error| SourceError::new(path, error.message()))
        };
        let manifest = parse(&manifest_path, &manifest)?;
        let kinds = manifest.get("lib").and_then(|lib| lib.get("crate-type")).and_then(Item::as_array);
        if !kinds.into_iter().flatten().any(|kind| kind.as_str() == Some("cdylib")) {
            return Ok(None);
        }
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Item::as_str);
        let name = name.ok_or_else(|| SourceError::new(&manifest_path, "the package has no name"))?;
        let source = folder.join("src/lib.rs");
        let text = fs::read_to_string(&source).map_err(|error| SourceError::io(&source, &error))?;
        let declaration = Declaration::read(&text).map_err(|error| SourceError::declaration(&source, error))?;
        let absolute = folder.canonicalize().map_err(|error| SourceError::io(folder, &error))?;
        let locked = absolute.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
        let content_hash = match locked {
            None => Err(IdentityError::NotLocked(name.to_owned())),
            Some(root) => {
                let lock_path = root.join("Cargo.lock");
                let lock = fs::read_to_string(&lock_path).map_err(|error| SourceError::io(&lock_path, &error))?;
                let mut local = BTreeMap::new();
                if let Some(table) = manifest.get("dependencies").and_then(Item::as_table_like) {
                    find_local(table, &absolute, Some(root), &mut local)?;
                }
                let package = Package::read(name, folder).map_err(|error| SourceError::io(folder, &error))?;
                let local: Vec<Package> = local.into_values().collect();
                content_hash(&package, &local, &lock)
            }
        };
        Ok(Some(Self { path: folder.to_owned(), form: Form::Crate, declaration, content_hash, text }))
    }
}

/// The name of the package that a single file is built as.
pub(crate) fn package_of(function: &str) -> String {
    format!("udf-{}", function.replace('_', "-"))
}

/// What the comment says with which a single file begins; `None` without one.
pub(crate) fn dependencies_in(text: &str, path: &Path) -> Result<Option<DocumentMut>, SourceError> {
    let Some(comment) = text.trim_start().strip_prefix("/*").and_then(|rest| rest.split("*/").next()) else {
        return Ok(None);
    };
    let Some(start) = comment.find("[dependencies]") else { return Ok(None) };
    let parsed = comment[start..].parse::<DocumentMut>();
    parsed.map(Some).map_err(|error| SourceError::new(path, format!("its dependencies: {}", error.message())))
}

/// The package that a dependency is.
fn package_name(key: &str, item: &Item) -> String {
    item.get("package").and_then(Item::as_str).unwrap_or(key).to_owned()
}

/// Reads the packages of `dependencies` that lie beside `folder`, and those that they are built with.
fn find_local(
    dependencies: &dyn TableLike,
    folder: &Path,
    workspace: Option<&Path>,
    into: &mut BTreeMap<String, Package>,
) -> Result<(), SourceError> {
    for (key, item) in dependencies.iter() {
        let is_inherited = item.get("workspace").and_then(Item::as_bool) == Some(true);
        let path = match (item.get("path").and_then(Item::as_str), workspace) {
            (Some(path), _) => Some((package_name(key, item), folder.join(path))),
            (None, Some(root)) if is_inherited => inherited(key, root)?,
            _ => None,
        };
        let Some((name, folder)) = path else { continue };
        if into.contains_key(&name) {
            continue;
        }
        let package = Package::read(&name, &folder).map_err(|error| SourceError::io(&folder, &error))?;
        let manifest = package.files.iter().find(|(path, _)| path == "Cargo.toml");
        let manifest = manifest.and_then(|(_, bytes)| String::from_utf8(bytes.clone()).ok()).unwrap_or_default();
        into.insert(name, package);
        let path = folder.join("Cargo.toml");
        let manifest = Document::parse(manifest).map_err(|error| SourceError::new(&path, error.message()))?;
        if let Some(table) = manifest.get("dependencies").and_then(Item::as_table_like) {
            find_local(table, &folder, workspace, into)?;
        }
    }
    Ok(())
}

/// A dependency of the workspace that lies beside it.
fn inherited(key: &str, root: &Path) -> Result<Option<(String, PathBuf)>, SourceError> {
    let path = root.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| SourceError::io(&path, &error))?;
    let manifest = Document::parse(text).map_err(|error| SourceError::new(&path, error.message()))?;
    let dependencies = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let Some(item) = dependencies.and_then(|dependencies| dependencies.get(key)) else { return Ok(None) };
    let path = item.get("path").and_then(Item::as_str);
    Ok(path.map(|path| (package_name(key, item), root.join(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: &str = "use arroyo_udf_plugin::udf;\n#[udf]\nfn loud(a: &str) -> String { a.to_uppercase() }\n";

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    #[test]
    fn a_file_is_read_with_its_name() {
        let folder = written(&[("loud.rs", FUNCTION), ("quiet.rs", FUNCTION)]);
        let source = Source::at(&folder.path().join("loud.rs")).expect("a source").expect("a function");
        assert_eq!((source.form, source.declaration.to_string().as_str()), (Form::File, "loud(a TEXT) → TEXT"));
        assert!(source.content_hash.is_ok());
        let error = Source::at(&folder.path().join("quiet.rs")).expect_err("another name");
        assert!(
            error
                .to_string()
                .ends_with("quiet.rs: its function is 'loud'\n  hint: a file is named after its function: loud.rs")
        );
    }

    #[test]
    fn dependencies_are_part_of_who_it_is() {
        let text = format!("/*\n[dependencies]\nmemchr = \"2\"\n*/\n{FUNCTION}");
        let folder = written(&[("loud.rs", &text)]);
        let path = folder.path().join("loud.rs");
        let hash = || Source::at(&path).expect("a source").expect("a function").content_hash;
        assert_eq!(hash(), Err(IdentityError::NotLocked("udf-loud".to_owned())));
        let lock = |checksum: &str| {
            format!(
                "[[package]]\nname = \"udf-loud\"\nversion = \"0.0.0\"\ndependencies = [\"memchr\"]\n\
                 [[package]]\nname = \"memchr\"\nversion = \"2.0.0\"\nchecksum = \"{checksum}\"\n"
            )
        };
        fs::write(path.with_extension("lock"), lock("a")).expect("a lock file");
        let first = hash().expect("a hash");
        fs::write(path.with_extension("lock"), lock("b")).expect("a lock file");
        assert_ne!(hash().expect("a hash"), first);
    }

    #[test]
    fn a_crate_is_read_with_the_packages_beside_it() {
        let manifest = "[package]\nname = \"udf-loud\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nvoice.workspace = true\n";
        let folder = written(&[
            ("Cargo.toml", "[workspace.dependencies]\nvoice = { path = \"voice\" }\n"),
            (
                "Cargo.lock",
                "[[package]]\nname = \"udf-loud\"\nversion = \"0.1.0\"\ndependencies = [\"voice\"]\n\
                 [[package]]\nname = \"voice\"\nversion = \"0.1.0\"\n",
            ),
            ("loud/Cargo.toml", manifest),
            ("loud/src/lib.rs", FUNCTION),
            ("voice/Cargo.toml", "[package]\nname = \"voice\"\n"),
            ("voice/src/lib.rs", "// one"),
        ]);
        let hash = || Source::at(&folder.path().join("loud")).expect("a source").expect("a function").content_hash;
        let first = hash().expect("a hash");
        fs::write(folder.path().join("voice/src/lib.rs"), "// two").expect("a file");
        assert_ne!(hash().expect("a hash"), first);
        assert!(Source::at(&folder.path().join("voice")).expect("a crate").is_none(), "no function's crate");
    }
}
