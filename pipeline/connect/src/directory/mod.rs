//! `connector = 'filesystem'`, written: a directory of files that never change, and a manifest of them.
//!
//! | name | what |
//! |---|---|
//! | `PREFIX0000000000.json`, `…1.json`, … | rows, committed; other formats end otherwise. A file appears whole, and stays as it is |
//! | `_manifest`, `_manifest.000000`, … | lists them: see [`manifest`] |
//! | `.PREFIX0000000007.json.prepared` | rows that are not committed, or not yet known to be |
//!
//! A commit gives one file. It is written under its temporary name and synced (`prepare`); after the journal's record it gets its name, and
//! then the manifest is replaced (`commit`). Who reads the names and who reads the manifest see each row once, and a row that was seen is
//! there for good, unless it was committed without a record (see [`Sink`]).
//!
//! The state in the journal is a JSON object: how many files are committed, and the manifest's entry of the last one. Names of this form
//! are the sink's own: one that is not committed is removed when the sink recovers.

mod manifest;
#[cfg(test)]
mod tests;

use crate::{ConnectError, Recovered, Sink};
use chalk_event::Epoch;
use chalk_store::fail::{Point, pass};
use chalk_store::{LocalFiles, Storage};
use manifest::{Entry, Manifest};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

const PREPARED: &str = ".prepared";

/// What a file's bytes are, given the lines that it is to hold; or what goes on the end of one that begins with these bytes.
pub type Encode = Box<dyn Fn(&str, Option<&[u8]>) -> Result<Vec<u8>, String> + Send>;

/// A directory that a file is added to with each commit.
pub struct DirectorySink {
    // configuration
    storage: Arc<dyn Storage>,
    prefix: String,
    suffix: String,
    /// Without, lines are the bytes.
    encode: Option<Encode>,
    // state
    manifest: Manifest,
    /// Written, and not yet listed.
    prepared: Option<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    entry: Entry,
    /// Whether it has its last name.
    named: bool,
}

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// How many files are committed.
    files: u64,
    /// The last of them.
    last: Option<Entry>,
}

impl State {
    fn encode(&self) -> Result<String, ConnectError> {
        serde_json::to_string(self).map_err(|error| ConnectError::State(error.to_string()))
    }
}

impl DirectorySink {
    /// A local directory, created when it does not exist.
    ///
    /// # Errors
    /// When it cannot be created, or is not a directory.
    pub fn at(path: &Path, prefix: &str, suffix: &str) -> Result<Self, ConnectError> {
        Ok(Self::within(Arc::new(LocalFiles::at(path)?), prefix, suffix))
    }

    /// The directory of a storage.
    #[must_use]
    pub fn within(storage: Arc<dyn Storage>, prefix: &str, suffix: &str) -> Self {
        let (prefix, suffix) = (prefix.to_owned(), suffix.to_owned());
        Self { storage, prefix, suffix, encode: None, manifest: Manifest::default(), prepared: None }
    }

    /// The same, with files of another format than lines.
    #[must_use]
    pub fn encoded(self, encode: Encode) -> Self {
        Self { encode: Some(encode), ..self }
    }

    fn name(&self, number: u64) -> String {
        format!("{}{number:010}{}", self.prefix, self.suffix)
    }

    /// The number of a file of this sink, by its last name or its temporary one.
    fn number(&self, name: &str) -> Option<u64> {
        let last = name.strip_suffix(PREPARED).and_then(|name| name.strip_prefix('.')).unwrap_or(name);
        let number = last.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?.parse().ok()?;
        (self.name(number) == last).then_some(number)
    }

    /// Nothing is committed: removes whatever an earlier sink has left, what others read first.
    fn begin(&mut self) -> Result<Recovered, ConnectError> {
        self.manifest = Manifest::default();
        for name in self.storage.list()? {
            if manifest::is_manifest(&name) {
                self.storage.remove(&name)?;
            }
        }
        self.forget(0)?;
        Ok(Recovered::Anew(State { files: 0, last: None }.encode()?))
    }

    /// Removes the files from this number on, and all that were only prepared.
    fn forget(&self, from: u64) -> Result<(), ConnectError> {
        for name in self.storage.list()? {
            if self.number(&name).is_some_and(|number| number >= from || name.ends_with(PREPARED)) {
                self.storage.remove(&name)?;
            }
        }
        Ok(self.storage.sync_directory()?)
    }

    /// Makes the directory hold `files` files, the last of which is `last`.
    fn go_on(&mut self, files: u64, last: &Entry) -> Result<Recovered, ConnectError> {
        match Manifest::read(&*self.storage)? {
            Some(manifest) => self.manifest = manifest,
            // The first file's commit may not have come as far as its manifest.
            None if files == 1 && self.is_there(&last.file)? => self.manifest = Manifest::default(),
            None => return self.begin(),
        }
        let listed = self.manifest.total();
        if listed + 1 < files {
            let what = format!("the directory's manifest lists {listed} files, but {files} were committed");
            return Err(ConnectError::Changed { what });
        }
        if listed >= files {
            if self.manifest.cut(files, &*self.storage)? != Some(last) {
                let what = format!("{} is not the file that was committed", last.file);
                return Err(ConnectError::Changed { what });
            }
            if listed > files {
                self.manifest.write(&*self.storage)?;
            }
        } else {
            self.publish(last)?;
        }
        self.forget(files)?;
        Ok(Recovered::GoesOn)
    }

    fn is_there(&self, name: &str) -> Result<bool, ConnectError> {
        Ok(self.storage.list()?.iter().any(|found| found == name || *found == temporary(name)))
    }

    /// Gives a prepared file its name, unless it has it, and lists it.
    fn publish(&mut self, entry: &Entry) -> Result<(), ConnectError> {
        let temporary = temporary(&entry.file);
        let (found, is_prepared) = match self.storage.read(&temporary)? {
            Some(bytes) => (Some(bytes), true),
            None => (self.storage.read(&entry.file)?, false),
        };
        if !found.is_some_and(|bytes| entry.is_of(&bytes)) {
            return Err(ConnectError::Changed { what: format!("{} is not as it was written", entry.file) });
        }
        if is_prepared {
            self.storage.rename(&temporary, &entry.file)?;
        }
        pass(Point::SinkBeforeManifest);
        self.list(entry.clone())
    }

    fn list(&mut self, entry: Entry) -> Result<(), ConnectError> {
        let mut next = self.manifest.clone();
        next.push(entry, &*self.storage)?;
        next.write(&*self.storage)?;
        self.manifest = next;
        Ok(())
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}{PREPARED}")
}

impl Sink for DirectorySink {
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError> {
        let state = committed.map(serde_json::from_str::<State>).transpose();
        match state.map_err(|error| ConnectError::State(error.to_string()))? {
            Some(State { files, last: Some(last) }) => self.go_on(files, &last),
            known => {
                // What is to be removed must be known to be a sink's.
                Manifest::read(&*self.storage)?;
                let begun = self.begin()?;
                Ok(if known.is_some() { Recovered::GoesOn } else { begun })
            }
        }
    }

    fn prepare(&mut self, epoch: Epoch, lines: &str) -> Result<String, ConnectError> {
        let number = self.manifest.total();
        let bytes = match &self.encode {
            None => Cow::Borrowed(lines.as_bytes()),
            Some(encode) => Cow::Owned(encode(lines, None).map_err(ConnectError::Encode)?),
        };
        let entry = Entry::of(self.name(number), epoch, lines, &bytes);
        let name = temporary(&entry.file);
        self.storage.remove(&name)?;
        let mut file = self.storage.create(&name)?;
        file.append(&bytes)?;
        file.sync()?;
        self.storage.sync_directory()?;
        self.prepared = Some(Prepared { entry: entry.clone(), named: false });
        State { files: number + 1, last: Some(entry) }.encode()
    }

    fn commit(&mut self, _: Epoch) -> Result<(), ConnectError> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        let entry = prepared.entry.clone();
        if !prepared.named {
            self.storage.rename(&temporary(&entry.file), &entry.file)?;
            prepared.named = true;
        }
        pass(Point::SinkBeforeManifest);
        self.list(entry)?;
        self.prepared = None;
        Ok(())
    }
}
