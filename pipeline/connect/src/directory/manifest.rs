//! The list of a directory's files, format 1.
//!
//! Lines of JSON. The first is about the others: `{"format":1,"parts":2,"files":17,"crc32c":"0a1b2c3d"}`; the checksum is of the
//! number of parts in decimal digits, a newline, and all bytes after that line. Each other line is a file, in order:
//!
//! ```json
//! {"file":"0000002000.json","epoch":712,"rows":311,"bytes":40112,"crc32c":"99d1ba01"}
//! ```
//!
//! So that a commit does not write a list that grows for ever, each thousand files make a part, `_manifest.000000` and so on, of the same
//! form, which is not changed again; `_manifest` has the files after them, and says in `parts` how many there are.

use crate::ConnectError;
use chalk_event::Epoch;
use chalk_store::Storage;
use serde::{Deserialize, Serialize};

const NAME: &str = "_manifest";
const FORMAT: u32 = 1;
/// The files of a part; few in tests, which are to see several.
const PART_FILES: usize = if cfg!(test) { 3 } else { 1000 };

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its name, with the folders that it is in.
    pub(super) file: String,
    /// The last epoch whose rows it has, or that were committed with these.
    epoch: u64,
    rows: u64,
    bytes: u64,
    /// Of its bytes, in hexadecimal digits.
    crc32c: String,
}

impl Entry {
    pub(super) fn of(file: String, epoch: Epoch, lines: &str, bytes: &[u8]) -> Self {
        let rows = lines.bytes().filter(|&byte| byte == b'\n').count() as u64;
        Self { file, epoch: epoch.0, rows, bytes: bytes.len() as u64, crc32c: checksum(bytes) }
    }

    /// The folder that the file is in; empty for the directory itself.
    pub(super) fn folder(&self) -> &str {
        self.file.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Its line of a list.
    pub(super) fn line(&self) -> Result<String, ConnectError> {
        let line = serde_json::to_string(self).map_err(|error| ConnectError::State(error.to_string()))?;
        Ok(line + "\n")
    }

    /// Whether these are the file's bytes.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && checksum(bytes) == self.crc32c
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    parts: u64,
    files: usize,
    crc32c: String,
}

/// Says only what every format says.
#[derive(Deserialize)]
struct AnyHead {
    format: u32,
}

/// The list, but for its earlier parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Manifest {
    parts: u64,
    files: Vec<Entry>,
}

pub(super) fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}

fn checksum_of(parts: u64, lines: &str) -> String {
    checksum(format!("{parts}\n{lines}").as_bytes())
}

fn part_name(part: u64) -> String {
    format!("{NAME}.{part:06}")
}

/// Whether a file of this name is a part of the list.
pub(super) fn is_manifest(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| {
        let part = rest.strip_prefix('.').and_then(|part| part.parse().ok());
        rest.is_empty() || part.is_some_and(|part| part_name(part) == name)
    })
}

impl Manifest {
    /// The list of a directory; `None` when there is none.
    ///
    /// # Errors
    /// When it is damaged, or of a newer format.
    pub(super) fn read(storage: &dyn Storage) -> Result<Option<Self>, ConnectError> {
        Self::read_part(storage, NAME)
    }

    fn read_part(storage: &dyn Storage, name: &str) -> Result<Option<Self>, ConnectError> {
        let Some(bytes) = storage.read(name)? else { return Ok(None) };
        let damaged = |what: &str| ConnectError::Changed { what: format!("{name} {what}") };
        let text = str::from_utf8(&bytes).map_err(|_| damaged("is not text"))?;
        let (head, lines) = text.split_once('\n').ok_or_else(|| damaged("is cut off"))?;
        let AnyHead { format } = serde_json::from_str(head).map_err(|_| damaged("has a damaged first line"))?;
        if format > FORMAT {
            return Err(ConnectError::NewerFormat { file: name.to_owned(), found: format, known: FORMAT });
        }
        let head: Head = serde_json::from_str(head).map_err(|_| damaged("has a damaged first line"))?;
        let crc32c = checksum_of(head.parts, lines);
        let files = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Entry>, _>>();
        match files {
            Ok(files) if format == FORMAT && head.crc32c == crc32c && head.files == files.len() => {
                Ok(Some(Self { parts: head.parts, files }))
            }
            _ => Err(damaged("is damaged: its checksum does not match")),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, ConnectError> {
        let unwritable = |error: serde_json::Error| ConnectError::State(error.to_string());
        let mut lines = String::new();
        for file in &self.files {
            lines.push_str(&file.line()?);
        }
        let crc32c = checksum_of(self.parts, &lines);
        let head = Head { format: FORMAT, parts: self.parts, files: self.files.len(), crc32c };
        Ok(format!("{}\n{lines}", serde_json::to_string(&head).map_err(unwritable)?).into_bytes())
    }

    /// How many files are listed in all.
    pub(super) fn total(&self) -> u64 {
        self.parts * PART_FILES as u64 + self.files.len() as u64
    }

    /// Adds a file; those before it become a part when they are enough for one.
    pub(super) fn push(&mut self, entry: Entry, storage: &dyn Storage) -> Result<(), ConnectError> {
        if self.files.len() >= PART_FILES {
            storage.replace(&part_name(self.parts), &self.encode()?)?;
            self.parts += 1;
            self.files.clear();
        }
        self.files.push(entry);
        Ok(())
    }

    /// Leaves the first `files`, of which there is one at least, and gives the last of these.
    pub(super) fn cut(&mut self, files: u64, storage: &dyn Storage) -> Result<Option<&Entry>, ConnectError> {
        while self.total() > files {
            if self.files.pop().is_none() {
                return Ok(None);
            }
            if self.files.is_empty() && self.parts > 0 {
                let part = part_name(self.parts - 1);
                let missing = || ConnectError::Changed { what: format!("{part} is missing") };
                *self = Self::read_part(storage, &part)?.ok_or_else(missing)?;
            }
        }
        Ok(self.files.last())
    }

    /// Makes this the directory's list.
    pub(super) fn write(&self, storage: &dyn Storage) -> Result<(), ConnectError> {
        Ok(storage.replace(NAME, &self.encode()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalk_store::memory::MemoryFiles;

    #[test]
    fn every_flipped_bit_is_noticed_in_the_list_and_in_its_parts() {
        let files = MemoryFiles::new();
        let mut manifest = Manifest::default();
        for epoch in 1..=4 {
            manifest.push(Entry::of(format!("{epoch}.json"), Epoch(epoch), "{}\n", b"{}\n"), &files).expect("memory");
        }
        manifest.write(&files).expect("memory");
        for name in [NAME.to_owned(), part_name(0)] {
            assert!(Manifest::read_part(&files, &name).is_ok_and(|read| read.is_some()));
            let bits = files.read(&name).expect("memory").expect("it was written").len() * 8;
            for bit in 0..bits {
                files.flip(&name, bit);
                assert!(Manifest::read_part(&files, &name).is_err(), "bit {bit} of {name}");
                files.flip(&name, bit);
            }
        }
    }
}
