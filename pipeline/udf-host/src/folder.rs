//! A project's `udfs/`: the sources of its functions, how they run, and what was built of them.
//!
//! | path | is |
//! |---|---|
//! | `NAME.rs` | a function in one file |
//! | `NAME.lock` | the versions of its dependencies, if it has any: written by the first build, to be kept with the source |
//! | `*/Cargo.toml` | a crate with one function, if its library is a `cdylib` |
//! | `udfs.toml` | how functions run: [`Settings`] |
//! | `.chalk/` | builds, and what Cargo needs to make them; can be thrown away |

use crate::settings::{self, Settings};
use crate::shelf::Shelf;
use crate::source::{Source, SourceError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A project's functions, as their sources are now.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Its functions, by name.
    pub sources: Vec<Source>,
    /// What cannot be used.
    pub mistakes: Vec<SourceError>,
    settings: BTreeMap<String, Settings>,
}

impl Folder {
    /// Reads all sources.
    ///
    /// # Errors
    /// When the folder cannot be read. Mistakes in sources are given beside those without.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut folder =
            Self { path: path.to_owned(), sources: Vec::new(), mistakes: Vec::new(), settings: BTreeMap::new() };
        for path in paths {
            match Source::at(&path) {
                Ok(None) => {}
                Ok(Some(source)) => folder.add(source),
                Err(mistake) => folder.mistakes.push(mistake),
            }
        }
        folder.sources.sort_by(|a, b| a.declaration.name.cmp(&b.declaration.name));
        let settings_path = path.join("udfs.toml");
        match fs::read_to_string(&settings_path) {
            Ok(text) => folder.set(&settings_path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(folder)
    }

    fn add(&mut self, source: Source) {
        let name = &source.declaration.name;
        match self.sources.iter().find(|other| other.declaration.name == *name) {
            None => self.sources.push(source),
            Some(other) => {
                let message = format!("'{name}' is declared by {} already", other.path.display());
                self.mistakes.push(SourceError::new(&source.path, message));
            }
        }
    }

    fn set(&mut self, path: &Path, text: &str) {
        match settings::read(text) {
            Ok(settings) => {
                let is_known = |name: &String| self.sources.iter().any(|source| source.declaration.name == *name);
                // Where a source has a mistake, its name is not known.
                let unknown = settings.keys().find(|name| self.mistakes.is_empty() && !is_known(name));
                if let Some(unknown) = unknown {
                    self.mistakes.push(SourceError::new(path, format!("[{unknown}]: there is no such function")));
                }
                self.settings = settings;
            }
            Err(message) => self.mistakes.push(SourceError::new(path, message)),
        }
    }

    /// How a function runs.
    #[must_use]
    pub fn settings(&self, name: &str) -> Settings {
        self.settings.get(name).cloned().unwrap_or_default()
    }

    /// Where its builds are.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        Shelf::of(&self.path)
    }
}
