//! Opening a directory: the index is rebuilt, and an unacknowledged tail is cut off.
//!
//! What is found at the place where the next commit should stand decides, for the last segment:
//!
//! | found | is | then |
//! |---|---|---|
//! | nothing | a clean end | go on |
//! | less than a commit, or one whose checksums fail, and no later commit | an append that was never acknowledged | cut off |
//! | a commit whose checksums fail, and a later one that is whole | damage | refuse |
//! | a footer | a sealed segment | go on in a new one |
//!
//! In an earlier segment, which was sealed and synced before the next was begun, everything but a clean end is damage.

use super::format::{
    COMMIT_BYTES_MAX, CommitHead, FOOTER_TAIL_BYTES, HEADER_BYTES, SegmentHeader, Unreadable, decode_footer,
    footer_bytes,
};
use super::index::{Index, Segment};
use crate::contract::LogError;
use chalk_event::CommitSeq;
use chalk_store::{ReadFile, Storage};
use std::sync::Arc;

/// What was found in a directory.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// The last segment and its length, when it is not sealed: where to go on.
    pub(super) open: Option<(String, u64)>,
}

pub(super) fn recover(storage: &dyn Storage) -> Result<Recovered, LogError> {
    let mut names: Vec<String> = storage.list()?;
    names.retain(|name| name.ends_with(".log"));
    let mut recovered = Recovered { index: Index::default(), open: None };
    let last = names.len().saturating_sub(1);
    for (number, name) in names.into_iter().enumerate() {
        let scan = Scan { name: &name, file: storage.open(&name)?, is_last: number == last };
        let expected = recovered.index.last_commit().next();
        scan.segment(expected, &mut recovered)?;
    }
    Ok(recovered)
}

struct Scan<'a> {
    name: &'a str,
    file: Arc<dyn ReadFile>,
    is_last: bool,
}

impl Scan<'_> {
    fn damaged(&self, commit: CommitSeq, position: u64, what: impl Into<String>) -> LogError {
        LogError::Damaged { file: self.name.to_owned(), commit, position, what: what.into() }
    }

    fn read(&self, position: u64, bytes: usize) -> Result<Vec<u8>, LogError> {
        let mut buffer = vec![0; bytes];
        self.file.read_exact_at(&mut buffer, position)?;
        Ok(buffer)
    }

    fn segment(&self, expected: CommitSeq, into: &mut Recovered) -> Result<(), LogError> {
        let len = self.file.len()?;
        if self.is_last && len < HEADER_BYTES as u64 {
            // The process died while it began the segment: nothing in it was acknowledged.
            into.open = Some((self.name.to_owned(), 0));
            return Ok(());
        }
        let header = self.read(0, HEADER_BYTES.min(len as usize))?;
        let header = SegmentHeader::decode(&header).map_err(|error| match error {
            Unreadable::Newer(found) => {
                LogError::NewerFormat { file: self.name.to_owned(), found, known: super::format::FORMAT }
            }
            Unreadable::Wrong(what) => self.damaged(expected, 0, what),
            Unreadable::Short => self.damaged(expected, 0, "the header is cut off"),
        })?;
        if header.first != expected {
            let what = format!("it begins with commit {}, but {expected} is next: a segment is missing", header.first);
            return Err(self.damaged(expected, 0, what));
        }
        let segment = Segment { name: self.name.to_owned(), file: Arc::clone(&self.file), commits: Vec::new() };
        into.index.segments.push(segment);
        match self.footer(len, expected)? {
            Some(commits) => {
                for (position, head) in commits {
                    into.index.add(position, head);
                }
            }
            None if self.is_last => into.open = Some((self.name.to_owned(), self.commits(len, expected, into)?)),
            None => {
                return Err(self.damaged(expected, len, "it has no footer, but a later segment exists"));
            }
        }
        Ok(())
    }

    fn footer(&self, len: u64, expected: CommitSeq) -> Result<Option<Vec<(u64, CommitHead)>>, LogError> {
        let Some(tail_at) = len.checked_sub(FOOTER_TAIL_BYTES as u64).filter(|&at| at >= HEADER_BYTES as u64) else {
            return Ok(None);
        };
        let mut tail = [0; FOOTER_TAIL_BYTES];
        self.file.read_exact_at(&mut tail, tail_at)?;
        let Some(bytes) = footer_bytes(&tail) else {
            return Ok(None);
        };
        let Some(start) = tail_at.checked_sub(bytes).filter(|&start| start >= HEADER_BYTES as u64) else {
            return Err(self.damaged(expected, tail_at, "the footer's length is impossible"));
        };
        match decode_footer(&self.read(start, bytes as usize)?, &tail) {
            Ok(commits) => Ok(Some(commits)),
            Err(Unreadable::Wrong(what)) => Err(self.damaged(expected, start, what)),
            Err(_) => Err(self.damaged(expected, start, "the footer is cut off")),
        }
    }

    /// Indexes the commits of an unsealed segment; returns where they end.
    fn commits(&self, len: u64, mut expected: CommitSeq, into: &mut Recovered) -> Result<u64, LogError> {
        let mut position = HEADER_BYTES as u64;
        while position < len {
            match self.commit(position, len)? {
                Ok(head) if head.seq == expected => {
                    let bytes = head.commit_bytes();
                    into.index.add(position, head);
                    position += bytes;
                    expected = expected.next();
                }
                Ok(head) => {
                    let what = format!("commit {} stands where {expected} should", head.seq);
                    return Err(self.damaged(expected, position, what));
                }
                Err(what) => {
                    if self.later_commit(position, len, expected)? {
                        return Err(self.damaged(expected, position, what));
                    }
                    return Ok(position);
                }
            }
        }
        Ok(position)
    }

    /// The whole commit at `position`, bodies checked; or what is wrong with it.
    fn commit(&self, position: u64, len: u64) -> Result<Result<CommitHead, &'static str>, LogError> {
        let left = len - position;
        let Some(prefix) = (left >= 8).then_some(8) else {
            return Ok(Err("the commit is cut off"));
        };
        let head_bytes = match CommitHead::peek_head_bytes(&self.read(position, prefix)?) {
            Ok(bytes) if bytes as u64 <= left => bytes,
            Ok(_) | Err(Unreadable::Short | Unreadable::Newer(_)) => {
                return Ok(Err("the commit is cut off"));
            }
            Err(Unreadable::Wrong(what)) => return Ok(Err(what)),
        };
        let head = match CommitHead::decode(&self.read(position, head_bytes)?) {
            Ok(head) if head.commit_bytes() <= left => head,
            Err(Unreadable::Wrong(what)) => return Ok(Err(what)),
            _ => return Ok(Err("the commit is cut off")),
        };
        let mut body_at = position + head_bytes as u64;
        for frame in &head.frames {
            let body = self.read(body_at, frame.body_bytes as usize)?;
            if crc32c::crc32c(&body) != frame.body_crc {
                return Ok(Err("a frame's checksum does not match"));
            }
            body_at += u64::from(frame.body_bytes);
        }
        Ok(Ok(head))
    }

    /// Whether a whole commit later than `expected` stands anywhere after `position`.
    fn later_commit(&self, position: u64, len: u64, expected: CommitSeq) -> Result<bool, LogError> {
        let bytes = self.read(position, (len - position).min(2 * COMMIT_BYTES_MAX as u64) as usize)?;
        for (at, _) in bytes.windows(4).enumerate().skip(1).filter(|(_, window)| window == b"CMT1") {
            if let Ok(Ok(head)) = self.commit(position + at as u64, len)
                && head.seq > expected
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
