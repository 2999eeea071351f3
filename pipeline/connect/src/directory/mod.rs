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
//! In folders ([`DirectorySink::in_folders`]) a commit gives a file for each folder that it has rows for, such as `day=7/PREFIX0000000012.json`. They
//! have numbers of one row, so that no two files have the same name. Names appear one after the other, with the manifest all of them at once.
//! Until then `_prepared` lists them: see [`prepared`].
//!
//! The state in the journal is a JSON object: how many files are committed, and the manifest's entry of the last one, or the checksums of
//! `_prepared`. Names of this form are the sink's own: one that is not committed is removed when the sink recovers.

mod manifest;
mod prepared;
#[cfg(test)]
mod tests;

use crate::{ConnectError, Recovered, Sink};
use chalk_event::Epoch;
use chalk_store::fail::{Point, pass};
use chalk_store::{Folders, LocalFiles};
use manifest::{Entry, Manifest};
use prepared::{Committed, Listed, State};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const PREPARED: &str = ".prepared";

/// What a file's bytes are, given the lines that it is to hold; or what goes on the end of one that begins with these bytes.
pub type Encode = Box<dyn Fn(&str, Option<&[u8]>) -> Result<Vec<u8>, String> + Send>;

/// A directory that a file is added to with each commit, or one for each folder.
pub struct DirectorySink {
    // configuration
    storage: Arc<dyn Folders>,
    prefix: String,
    suffix: String,
    /// Without, lines are the bytes.
    encode: Option<Encode>,
    /// Each line says first which folder it is for.
    in_folders: bool,
    // state
    manifest: Manifest,
    /// Written, and not yet listed.
    prepared: Option<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    entries: Vec<Entry>,
    /// So many have their last names.
    named: usize,
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
    pub fn within(storage: Arc<dyn Folders>, prefix: &str, suffix: &str) -> Self {
        let (prefix, suffix) = (prefix.to_owned(), suffix.to_owned());
        Self { storage, prefix, suffix, encode: None, in_folders: false, manifest: Manifest::default(), prepared: None }
    }

    /// The same, with files of another format than lines.
    #[must_use]
    pub fn encoded(self, encode: Encode) -> Self {
        Self { encode: Some(encode), ..self }
    }

    /// The same, for lines that each begin with the folder that they are for and a tab. A folder is a path with `/`; none of its names
    /// begins with `.` or `_`. Files have the lines without it.
    #[must_use]
    pub fn in_folders(self) -> Self {
        Self { in_folders: true, ..self }
    }

    fn name(&self, number: u64) -> String {
        format!("{}{number:010}{}", self.prefix, self.suffix)
    }

    /// The number of a file of this sink, by its last name or its temporary one.
    fn number(&self, name: &str) -> Option<u64> {
        let name = file_name(name);
        let last = name.strip_suffix(PREPARED).and_then(|name| name.strip_prefix('.')).unwrap_or(name);
        let number = last.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?.parse().ok()?;
        (self.name(number) == last).then_some(number)
    }

    /// All names that can be the sink's.
    fn names(&self) -> Result<Vec<String>, ConnectError> {
        Ok(if self.in_folders { self.storage.list_folders()? } else { self.storage.list()? })
    }

    /// Nothing is committed: removes whatever an earlier sink has left, what others read first.
    fn begin(&mut self) -> Result<Recovered, ConnectError> {
        self.manifest = Manifest::default();
        for name in self.storage.list()? {
            if manifest::is_manifest(&name) || name == prepared::LIST {
                self.storage.remove(&name)?;
            }
        }
        self.forget(0)?;
        Ok(Recovered::Anew(State::One { files: 0, last: None }.encode()?))
    }

    /// Removes the files from this number on, and all that were only prepared.
    fn forget(&self, from: u64) -> Result<(), ConnectError> {
        let mut changed = BTreeSet::new();
        for name in self.names()? {
            if self.number(&name).is_some_and(|number| number >= from || name.ends_with(PREPARED)) {
                self.storage.remove(&name)?;
                changed.insert(folder(&name).to_owned());
            }
        }
        changed.iter().filter(|folder| !folder.is_empty()).try_for_each(|folder| self.storage.sync_folder(folder))?;
        Ok(self.storage.sync_directory()?)
    }

    /// Makes the directory hold `files` files, the last of which are those of the last commit.
    fn go_on(&mut self, files: u64, last: &Committed) -> Result<Recovered, ConnectError> {
        match Manifest::read(&*self.storage)? {
            Some(manifest) => self.manifest = manifest,
            // The first commit may not have come as far as its manifest.
            None => match last.entries(&*self.storage)? {
                Some(entries) if files == last.files() && self.are_there(&entries)? => {
                    self.manifest = Manifest::default();
                }
                _ => return self.begin(),
            },
        }
        let listed = self.manifest.total();
        if listed >= files {
            let is_last = self.manifest.cut(files, &*self.storage)?.map(|entry| last.ends_with(entry)).transpose()?;
            if is_last != Some(true) {
                let what = format!("file {} is not the one that was committed", files.saturating_sub(1));
                return Err(ConnectError::Changed { what });
            }
            if listed > files {
                self.manifest.write(&*self.storage)?;
            }
        } else if listed + last.files() == files {
            let what = || ConnectError::Changed { what: format!("{} is not as it was written", prepared::LIST) };
            let entries = last.entries(&*self.storage)?.ok_or_else(what)?;
            self.publish(entries)?;
        } else {
            let what = format!("the directory's manifest lists {listed} files, but {files} were committed");
            return Err(ConnectError::Changed { what });
        }
        self.forget(files)?;
        Ok(Recovered::GoesOn)
    }

    fn are_there(&self, entries: &[Entry]) -> Result<bool, ConnectError> {
        let names = self.names()?;
        let is_there = |name: &str| names.iter().any(|found| found == name);
        Ok(entries.iter().all(|entry| is_there(&entry.file) || is_there(&temporary(&entry.file))))
    }

    /// Gives prepared files their names, unless they have them, and lists them.
    fn publish(&mut self, entries: Vec<Entry>) -> Result<(), ConnectError> {
        let mut unnamed = Vec::new();
        for entry in &entries {
            let (found, is_prepared) = match self.storage.read(&temporary(&entry.file))? {
                Some(bytes) => (Some(bytes), true),
                None => (self.storage.read(&entry.file)?, false),
            };
            if !found.is_some_and(|bytes| entry.is_of(&bytes)) {
                return Err(ConnectError::Changed { what: format!("{} is not as it was written", entry.file) });
            }
            if is_prepared {
                unnamed.push(entry);
            }
        }
        unnamed.into_iter().try_for_each(|entry| give_name(&*self.storage, entry))?;
        self.list(entries)
    }

    /// Makes names durable, then lists the files.
    fn list(&mut self, entries: Vec<Entry>) -> Result<(), ConnectError> {
        let folders: BTreeSet<&str> = entries.iter().map(Entry::folder).filter(|folder| !folder.is_empty()).collect();
        folders.into_iter().try_for_each(|folder| self.storage.sync_folder(folder))?;
        pass(Point::SinkBeforeManifest);
        let mut next = self.manifest.clone();
        entries.into_iter().try_for_each(|entry| next.push(entry, &*self.storage))?;
        next.write(&*self.storage)?;
        self.manifest = next;
        Ok(())
    }

    /// The lines of each folder.
    fn by_folder<'l>(&self, lines: &'l str) -> Result<Vec<(&'l str, Cow<'l, str>)>, ConnectError> {
        if !self.in_folders {
            return Ok(vec![("", Cow::Borrowed(lines))]);
        }
        let mut by_folder = BTreeMap::<&str, String>::new();
        for line in lines.split_inclusive('\n') {
            let without = || ConnectError::Encode(format!("a line without its folder: {line}"));
            let (folder, line) = line.split_once('\t').ok_or_else(without)?;
            by_folder.entry(folder).or_default().push_str(line);
        }
        Ok(by_folder.into_iter().map(|(folder, lines)| (folder, Cow::Owned(lines))).collect())
    }

    /// Writes a file under its temporary name.
    fn write(&self, number: u64, folder: &str, epoch: Epoch, lines: &str) -> Result<Entry, ConnectError> {
        let bytes = match &self.encode {
            None => Cow::Borrowed(lines.as_bytes()),
            Some(encode) => Cow::Owned(encode(lines, None).map_err(ConnectError::Encode)?),
        };
        let name = self.name(number);
        let file = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let temporary = temporary(&file);
        self.storage.remove(&temporary)?;
        let mut opened = self.storage.create(&temporary)?;
        opened.append(&bytes)?;
        opened.sync()?;
        Ok(Entry::of(file, epoch, lines, &bytes))
    }
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn file_name(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, name)| name)
}

fn temporary(name: &str) -> String {
    format!(".{}{PREPARED}", file_name(name))
}

/// Gives a prepared file its name, in its folder.
fn give_name(storage: &dyn Folders, entry: &Entry) -> Result<(), ConnectError> {
    if !entry.folder().is_empty() {
        storage.make_folder(entry.folder())?;
    }
    storage.rename(&temporary(&entry.file), &entry.file)?;
    pass(Point::SinkAfterName);
    Ok(())
}

impl Sink for DirectorySink {
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError> {
        let state = committed.map(serde_json::from_str::<State>).transpose();
        match state.map_err(|error| ConnectError::State(error.to_string()))? {
            Some(State::One { files, last: Some(last) }) => self.go_on(files, &Committed::One(last)),
            Some(State::InFolders { folders }) => {
                // What is to be taken back is in folders, whatever is to come.
                let in_folders = std::mem::replace(&mut self.in_folders, true);
                let recovered = self.go_on(folders.total(), &Committed::Listed(folders));
                self.in_folders = in_folders;
                recovered
            }
            known => {
                // What is to be removed must be known to be a sink's.
                Manifest::read(&*self.storage)?;
                let begun = self.begin()?;
                Ok(if known.is_some() { Recovered::GoesOn } else { begun })
            }
        }
    }

    fn prepare(&mut self, epoch: Epoch, lines: &str) -> Result<String, ConnectError> {
        let first = self.manifest.total();
        let mut entries = Vec::new();
        for (folder, lines) in self.by_folder(lines)? {
            entries.push(self.write(first + entries.len() as u64, folder, epoch, &lines)?);
        }
        self.storage.sync_directory()?;
        let files = first + entries.len() as u64;
        let state = if self.in_folders {
            State::InFolders { folders: Listed::write(&entries, files, &*self.storage)? }
        } else {
            State::One { files, last: entries.last().cloned() }
        };
        self.prepared = Some(Prepared { entries, named: 0 });
        state.encode()
    }

    fn commit(&mut self, _: Epoch) -> Result<(), ConnectError> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        while let Some(entry) = prepared.entries.get(prepared.named) {
            give_name(&*self.storage, entry)?;
            prepared.named += 1;
        }
        let entries = prepared.entries.clone();
        self.list(entries)?;
        self.prepared = None;
        Ok(())
    }
}
