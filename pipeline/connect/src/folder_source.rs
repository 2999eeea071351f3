//! `connector = 'filesystem'`, read: the files of a directory, one after the other.

use crate::{ConnectError, FileSource, LineChunk, LineSource, Place, Polled, Source};
use regex::Regex;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bounded source: the lines of the files that a directory, and those in it, have now, in the order of their paths.
///
/// A position counts the bytes of all files before it. It stays what it was as long as files that are added come after those that were
/// read, as they do where names begin with dates or numbers.
#[derive(Debug)]
pub struct FolderSource {
    /// Those not opened yet, with the position at which each begins.
    waiting: VecDeque<(PathBuf, u64)>,
    reading: Option<(FileSource, u64)>,
}

impl FolderSource {
    /// Opens a directory at a position that a chunk gave, or at 0. Names that begin with `.` or `_` are passed over, and files whose path
    /// below the directory does not match the pattern, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, the pattern is no regular expression, or the files have fewer bytes than the position.
    pub fn open(directory: &Path, pattern: Option<&str>, position: u64) -> Result<Self, ConnectError> {
        let (mut waiting, mut reading, mut begin) = (VecDeque::new(), None, 0);
        for path in files_of(directory, pattern)? {
            let len = path.metadata().map_err(|source| failed("read the size of", &path, source))?.len();
            if begin >= position {
                waiting.push_back((path, begin));
            } else if begin + len > position {
                reading = Some((FileSource::open(&path, Place { position: position - begin, records: 0 })?, begin));
            }
            begin += len;
        }
        if begin < position {
            return Err(ConnectError::Shrunk { path: directory.display().to_string(), len: begin, position });
        }
        Ok(Self { waiting, reading })
    }
}

/// The files that a directory, and those in it, have now, in the order of their paths.
///
/// # Errors
/// When it cannot be read, or the pattern is no regular expression.
pub fn files_of(directory: &Path, pattern: Option<&str>) -> Result<Vec<PathBuf>, ConnectError> {
    let pattern = pattern.map(Regex::new).transpose().map_err(|error| ConnectError::Pattern(error.to_string()))?;
    let mut paths = Vec::new();
    gather(directory, &mut paths).map_err(|source| failed("read", directory, source))?;
    paths.retain(|path| {
        let below = path.strip_prefix(directory).unwrap_or(path).to_string_lossy();
        pattern.as_ref().is_none_or(|pattern| pattern.is_match(&below))
    });
    paths.sort();
    Ok(paths)
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> ConnectError {
    ConnectError::File { operation, path: path.display().to_string(), source }
}

fn gather(directory: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        match entry.path() {
            path if path.is_dir() => gather(&path, into)?,
            path => into.push(path),
        }
    }
    Ok(())
}

impl LineSource for FolderSource {
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError> {
        loop {
            if let Some((file, begin)) = &mut self.reading {
                if let Polled::Chunk(chunk) = file.poll(Duration::ZERO)? {
                    let (position, lines) = (*begin + chunk.position, chunk.records);
                    return Ok(Some(LineChunk { bytes: chunk.bytes, position, lines }));
                }
                self.reading = None;
            }
            let Some((path, begin)) = self.waiting.pop_front() else { return Ok(None) };
            self.reading = Some((FileSource::open(&path, Place::default())?, begin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// All that is left from a position on, with the positions after each chunk.
    fn read(directory: &Path, pattern: Option<&str>, position: u64) -> Vec<(String, u64, u64)> {
        let mut source = FolderSource::open(directory, pattern, position).expect("a directory");
        std::iter::from_fn(|| source.next().expect("files"))
            .map(|chunk| (String::from_utf8(chunk.bytes).expect("text"), chunk.position, chunk.lines))
            .collect()
    }

    #[test]
    fn files_are_read_in_order_from_any_position() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        fs::create_dir(path.join("day=2")).expect("a folder");
        for (name, text) in
            [("day=2/a", "5\n"), ("b.json", "1\n2\n"), ("c.json", "3"), ("_manifest", "x\n"), (".d", "y\n"), ("e", "")]
        {
            fs::write(path.join(name), text).expect("a file");
        }
        let all = read(path, None, 0);
        let expected =
            [("1\n2\n", 4, 2), ("3", 5, 1), ("5\n", 7, 1)].map(|(text, at, lines)| (text.to_owned(), at, lines));
        assert_eq!(all, expected);
        assert_eq!(read(path, None, 4), expected[1..]);
        assert_eq!(read(path, None, 2), [("2\n".to_owned(), 4, 1), expected[1].clone(), expected[2].clone()]);
        assert_eq!(read(path, None, 7), []);
        assert_eq!(read(path, Some("json$"), 0), expected[..2]);
        let error = FolderSource::open(path, None, 8).expect_err("fewer bytes").to_string();
        assert!(error.contains("is 7 bytes long, but 8 were read before"), "{error}");
        let error = FolderSource::open(path, Some("("), 0).expect_err("no pattern").to_string();
        assert!(error.contains("source.regex-pattern"), "{error}");
    }
}
