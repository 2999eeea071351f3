//! A segment's file: its name, its header, its footer.

use super::footer::{ENDING_BYTES, Ending, Part};
use super::format::{FORMAT, HEADER_BYTES, SegmentHeader, Unreadable};
use super::index::Index;
use super::lanes::{Lane, LaneKey, Lanes};
use crate::contract::LogError;
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, EventTime};
use chalk_store::{ReadFile, Storage};
use std::sync::Arc;

/// Read at once from the end of a sealed segment: the footer's ending and usually its partitions.
const END_BYTES: u64 = 4096;

/// A segment's name.
pub(super) fn name_of(first: CommitSeq) -> String {
    format!("{:020}.log", first.0)
}

/// The first commit of the segment of this name.
pub(super) fn first_of(name: &str) -> Option<CommitSeq> {
    let first = CommitSeq(name.strip_suffix(".log")?.parse().ok()?);
    (name_of(first) == name).then_some(first)
}

/// A segment's file, to be read.
#[derive(Clone, Debug)]
pub(super) struct SegmentFile {
    pub(super) first: CommitSeq,
    pub(super) name: String,
    pub(super) file: Arc<dyn ReadFile>,
}

/// What a sealed segment's footer says, but for its index.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) ending: Ending,
    pub(super) lanes: Lanes,
    /// How long the file is.
    pub(super) len: u64,
    footer_at: u64,
}

impl Summary {
    /// Where the commits end and the footer begins.
    pub(super) fn footer_at(&self) -> u64 {
        self.footer_at
    }

    /// The partitions that have rows in the segment.
    pub(super) fn with_rows(&self) -> impl Iterator<Item = (LaneKey, &Lane)> {
        self.lanes.iter().filter(|(_, lane)| lane.first < lane.tail)
    }

    /// The least and greatest event time of a topic's rows in the segment.
    pub(super) fn event_times(&self, topic: TopicId) -> Option<(EventTime, EventTime)> {
        let times = self.lanes.iter().filter(|((of, _), _)| *of == topic).filter_map(|(_, lane)| lane.event_times);
        times.reduce(|known, new| (known.0.min(new.0), known.1.max(new.1)))
    }

    /// What the bodies of a topic take from the beginning of the log to the segment's end.
    pub(super) fn bytes_of(&self, topic: TopicId) -> u64 {
        self.lanes.iter().filter(|((of, _), _)| *of == topic).map(|(_, lane)| lane.bytes).sum()
    }
}

impl SegmentFile {
    pub(super) fn open(storage: &dyn Storage, first: CommitSeq) -> Result<Self, LogError> {
        let name = name_of(first);
        let file = storage.open(&name)?;
        Ok(Self { first, name, file })
    }

    pub(super) fn damaged(&self, commit: CommitSeq, position: u64, what: impl Into<String>) -> LogError {
        LogError::Damaged { file: self.name.clone(), commit, position, what: what.into() }
    }

    fn unreadable(&self, position: u64, why: &Unreadable) -> LogError {
        match *why {
            Unreadable::Wrong(what) => self.damaged(self.first, position, what),
            Unreadable::Short => self.damaged(self.first, position, "it is cut off"),
            Unreadable::Format(found) => {
                let (file, known) = (self.name.clone(), FORMAT);
                if found > known {
                    LogError::NewerFormat { file, found, known }
                } else {
                    LogError::OlderFormat { file, found, known }
                }
            }
        }
    }

    pub(super) fn read(&self, position: u64, bytes: usize) -> Result<Vec<u8>, LogError> {
        let mut buffer = vec![0; bytes];
        self.file.read_exact_at(&mut buffer, position)?;
        Ok(buffer)
    }

    /// Checks that it is a segment of the present format and begins with the commit that its name says. A header that was
    /// not written to its end gives `false`.
    pub(super) fn check_header(&self, len: u64) -> Result<bool, LogError> {
        let bytes = self.read(0, len.min(HEADER_BYTES as u64) as usize)?;
        // The length can be durable when the bytes are not.
        if len <= HEADER_BYTES as u64 && bytes.iter().all(|&byte| byte == 0) {
            return Ok(false);
        }
        match SegmentHeader::decode(&bytes) {
            Ok(header) if header.first == self.first => Ok(true),
            Ok(header) => {
                let what = format!("it begins with commit {}, which is not the one in its name", header.first);
                Err(self.damaged(self.first, 0, what))
            }
            Err(Unreadable::Short) => Ok(false),
            Err(why) => Err(self.unreadable(0, &why)),
        }
    }

    /// The summary of a segment that must be sealed, its header checked.
    pub(super) fn summary(&self) -> Result<Summary, LogError> {
        let len = self.file.len()?;
        if !self.check_header(len)? {
            return Err(self.damaged(self.first, 0, "the header is cut off"));
        }
        let missing = || self.damaged(self.first, len, "it has no footer, but a later segment exists");
        self.footer(len)?.ok_or_else(missing)
    }

    /// What the footer says; `None` when there is none.
    pub(super) fn footer(&self, len: u64) -> Result<Option<Summary>, LogError> {
        let Some(end_bytes) = len.checked_sub(HEADER_BYTES as u64).map(|bytes| bytes.min(END_BYTES)) else {
            return Ok(None);
        };
        let end = self.read(len - end_bytes, end_bytes as usize)?;
        let Some((_, ending)) = end.split_last_chunk::<ENDING_BYTES>() else {
            return Ok(None);
        };
        let ending_at = len - ENDING_BYTES as u64;
        let Some(ending) = Ending::decode(ending).map_err(|why| self.unreadable(ending_at, &why))? else {
            return Ok(None);
        };
        let Some(footer_at) = len.checked_sub(ending.footer_bytes()).filter(|&at| at >= HEADER_BYTES as u64) else {
            return Err(self.damaged(self.first, ending_at, "the footer's length is impossible"));
        };
        if ending.first.0 != self.first {
            return Err(self.damaged(self.first, ending_at, "the footer is another segment's"));
        }
        // `end` has the partitions when all of them fit.
        let at = (footer_at + ending.lanes.at).checked_sub(len - end_bytes);
        let at_hand = at.and_then(|at| end.get(at as usize..at as usize + ending.lanes.bytes as usize));
        let lanes = match at_hand {
            Some(bytes) => {
                self.check(footer_at, ending.lanes, bytes).and_then(|()| self.decode_lanes(footer_at, bytes))
            }
            None => self.part(footer_at, ending.lanes).and_then(|bytes| self.decode_lanes(footer_at, &bytes)),
        };
        Ok(Some(Summary { ending, lanes: lanes?, len, footer_at }))
    }

    fn decode_lanes(&self, footer_at: u64, bytes: &[u8]) -> Result<Lanes, LogError> {
        Lanes::decode(bytes).map_err(|why| self.unreadable(footer_at, &why))
    }

    fn part(&self, footer_at: u64, part: Part) -> Result<Vec<u8>, LogError> {
        let bytes = self.read(footer_at + part.at, part.bytes as usize)?;
        self.check(footer_at, part, &bytes)?;
        Ok(bytes)
    }

    fn check(&self, footer_at: u64, part: Part, bytes: &[u8]) -> Result<(), LogError> {
        part.check(bytes).map_err(|why| self.unreadable(footer_at + part.at, &why))
    }

    /// The body of the control events that lead to the topics and the journal as they were at the segment's end.
    pub(super) fn control(&self, summary: &Summary) -> Result<Vec<u8>, LogError> {
        self.part(summary.footer_at, summary.ending.control)
    }

    pub(super) fn index(&self, summary: &Summary) -> Result<Index, LogError> {
        let Summary { ending, lanes, footer_at, .. } = summary;
        let bytes = self.part(*footer_at, ending.index)?;
        let index = Index::decode(&bytes, self.first, ending.first.1, lanes, *footer_at);
        let index = index.map_err(|why| self.unreadable(*footer_at, &why))?;
        if index.next() != ending.last.0.next() {
            return Err(self.damaged(self.first, *footer_at, "the footer's parts do not fit each other"));
        }
        Ok(index)
    }
}
