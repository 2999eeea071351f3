//! Opening a directory: the last footer says how everything was, the open segment is read, and an unacknowledged tail is cut
//! off. Earlier segments are not read: their names tell whether one is missing. Where the log begins is in `trim.rs`.
//!
//! What is found at the place where the next commit should stand decides, for the last segment:
//!
//! | found | is | then |
//! |---|---|---|
//! | nothing | a clean end | go on |
//! | less than a commit, or one whose checksums fail, and no later commit | an append that was never acknowledged, or a footer that was never whole | cut off |
//! | a commit whose checksums fail, and a later one that is whole | damage | refuse |
//! | a whole footer | a sealed segment | go on in a new one |
//!
//! In an earlier segment, which was sealed and synced before the next was begun, everything but a clean end is damage. Whoever
//! reads there notices.

use super::control::{Control, is_control};
use super::footer::Segments;
use super::format::{COMMIT_BYTES_MAX, CommitHead, Unreadable};
use super::index::Index;
use super::lanes::Lanes;
use super::segment::{SegmentFile, Summary, first_of};
use super::trim::Trim;
use crate::contract::LogError;
use chalk_event::{CommitSeq, IngestTime};
use chalk_store::Storage;

/// Read at once from the open segment, but for a single body that is larger.
const WINDOW_BYTES: usize = 1 << 20;

/// What was found in a directory.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The first commits of sealed segments.
    pub(super) sealed: Vec<CommitSeq>,
    /// The sealed segments since the beginning of the log, those that were removed among them.
    pub(super) segments: Segments,
    pub(super) trim: Trim,
    /// The segment to go on in. Without a header, nothing of it was ever acknowledged.
    pub(super) open: Option<(Index, HasHeader)>,
    pub(super) lanes: Lanes,
    pub(super) control: Control,
    pub(super) last_commit: CommitSeq,
    pub(super) last_time: IngestTime,
}

/// Whether a segment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HasHeader(pub(super) bool);

pub(super) fn recover(storage: &dyn Storage) -> Result<Recovered, LogError> {
    let trim = Trim::read(storage)?;
    let mut recovered = Recovered {
        sealed: trim.kept(firsts(storage)?)?,
        segments: Segments::default(),
        trim,
        open: None,
        lanes: Lanes::default(),
        control: Control::default(),
        last_commit: CommitSeq(0),
        last_time: IngestTime(0),
    };
    let Some(last) = recovered.sealed.pop() else {
        return Ok(recovered);
    };
    let last = SegmentFile::open(storage, last)?;
    let len = last.file.len()?;
    let has_header = last.check_header(len)?;
    if let Some(summary) = whole_footer(&last, len)? {
        recovered.sealed.push(last.first);
        recovered.begin_after(storage, &last, &summary)?;
        return Ok(recovered);
    }
    if let Some(&previous) = recovered.sealed.last() {
        let previous = SegmentFile::open(storage, previous)?;
        let summary = previous.summary()?;
        recovered.begin_after(storage, &previous, &summary)?;
    }
    let expected = recovered.last_commit.next();
    if last.first != expected {
        return Err(missing(&last, expected));
    }
    let mut index = Index::new(last.first);
    if has_header {
        Scan::new(&last, len).commits(&mut index, &mut recovered)?;
    }
    recovered.open = Some((index, HasHeader(has_header)));
    Ok(recovered)
}

/// The segments in the folder, by their names.
pub(super) fn firsts(storage: &dyn Storage) -> Result<Vec<CommitSeq>, LogError> {
    let names = storage.list()?;
    let segments = names.into_iter().filter(|name| name.ends_with(".log"));
    let first = |name: String| {
        first_of(&name).ok_or_else(|| LogError::Damaged {
            file: name,
            commit: CommitSeq(0),
            position: 0,
            what: "this is not the name of a segment".to_owned(),
        })
    };
    segments.map(first).collect()
}

/// The footer of the last segment, if all of it is as it was written: a footer that was not synced can be torn.
fn whole_footer(last: &SegmentFile, len: u64) -> Result<Option<Summary>, LogError> {
    let whole = last.footer(len).and_then(|summary| {
        let Some(summary) = summary else { return Ok(None) };
        last.control(&summary)?;
        last.index(&summary)?;
        Ok(Some(summary))
    });
    match whole {
        Err(LogError::Damaged { .. }) => Ok(None),
        other => other,
    }
}

fn missing(segment: &SegmentFile, expected: CommitSeq) -> LogError {
    let what = format!("it begins with commit {}, but {expected} is next: a segment is missing", segment.first);
    segment.damaged(expected, 0, what)
}

impl Recovered {
    /// Everything as at the end of the last sealed segment.
    fn begin_after(&mut self, storage: &dyn Storage, segment: &SegmentFile, summary: &Summary) -> Result<(), LogError> {
        let mut earlier = self.trim.removed;
        for &first in &self.sealed[..self.sealed.len() - 1] {
            earlier.add(first, 0);
        }
        if (earlier.count, earlier.sum) != (summary.ending.earlier.count, summary.ending.earlier.sum) {
            return Err(self.missing(storage, segment));
        }
        self.segments = summary.ending.earlier;
        self.segments.add(segment.first, summary.len);
        self.control.apply_body(&segment.control(summary)?)?;
        self.lanes = summary.lanes.clone();
        self.lanes.begin_segment();
        (self.last_commit, self.last_time) = summary.ending.last;
        Ok(())
    }

    /// Says where segments do not follow on each other.
    fn missing(&self, storage: &dyn Storage, last: &SegmentFile) -> LogError {
        let mut expected = self.trim.first;
        for &first in &self.sealed {
            let summary = SegmentFile::open(storage, first).and_then(|segment| match segment.first == expected {
                true => segment.summary(),
                false => Err(missing(&segment, expected)),
            });
            match summary {
                Ok(summary) => expected = summary.ending.last.0.next(),
                Err(error) => return error,
            }
        }
        last.damaged(last.first, 0, "its footer counts other segments before it than there are")
    }
}

/// Reads the commits of a segment that is not sealed.
pub(super) struct Scan<'a> {
    segment: &'a SegmentFile,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scan<'a> {
    /// Of the first `len` bytes of a segment.
    pub(super) fn new(segment: &'a SegmentFile, len: u64) -> Self {
        Self { segment, len, window: Vec::new(), window_at: 0 }
    }

    /// Bytes of the file, which must have them.
    pub(super) fn bytes(&mut self, position: u64, bytes: usize) -> Result<&[u8], LogError> {
        let at_hand = position.checked_sub(self.window_at).map(|at| at as usize);
        if let Some(at) = at_hand.filter(|at| at + bytes <= self.window.len()) {
            return Ok(&self.window[at..at + bytes]);
        }
        let more = WINDOW_BYTES.max(bytes).min((self.len - position) as usize);
        self.window.resize(more, 0);
        self.window_at = position;
        self.segment.file.read_exact_at(&mut self.window, position)?;
        Ok(&self.window[..bytes])
    }

    fn commits(&mut self, index: &mut Index, into: &mut Recovered) -> Result<(), LogError> {
        while index.end() < self.len {
            let (position, expected) = (index.end(), index.next());
            let what = match self.commit(position)? {
                Ok((head, _)) if head.seq != expected => {
                    let what = format!("commit {} stands where {expected} should", head.seq);
                    return Err(self.segment.damaged(expected, position, what));
                }
                Ok((head, control)) => {
                    index.add(&head);
                    head.frames.iter().for_each(|frame| into.lanes.add(frame, head.seq, head.time));
                    control.iter().try_for_each(|body| into.control.apply_body(body))?;
                    (into.last_commit, into.last_time) = (head.seq, head.time);
                    continue;
                }
                Err(what) => what,
            };
            if self.later_commit(position, expected)? {
                return Err(self.segment.damaged(expected, position, what));
            }
            return Ok(());
        }
        Ok(())
    }

    /// The whole commit at `position`, bodies checked, with those of control events; or what is wrong with it.
    #[expect(clippy::type_complexity, reason = "a commit, or what is wrong with it, or why it cannot be read")]
    pub(super) fn commit(
        &mut self,
        position: u64,
    ) -> Result<Result<(CommitHead, Vec<Vec<u8>>), &'static str>, LogError> {
        const CUT_OFF: &str = "the commit is cut off";
        let left = self.len - position;
        let prefix = self.bytes(position, left.min(8) as usize)?;
        let head_bytes = match CommitHead::peek_head_bytes(prefix) {
            Ok(bytes) if bytes as u64 <= left => bytes,
            Ok(_) | Err(Unreadable::Short | Unreadable::Format(_)) => return Ok(Err(CUT_OFF)),
            Err(Unreadable::Wrong(what)) => return Ok(Err(what)),
        };
        let head = match CommitHead::decode(self.bytes(position, head_bytes)?) {
            Ok(head) if head.commit_bytes() <= left => head,
            Err(Unreadable::Wrong(what)) => return Ok(Err(what)),
            _ => return Ok(Err(CUT_OFF)),
        };
        let (mut body_at, mut control) = (position + head_bytes as u64, Vec::new());
        for frame in &head.frames {
            let body = self.bytes(body_at, frame.body_bytes as usize)?;
            if crc32c::crc32c(body) != frame.body_crc {
                return Ok(Err("a frame's checksum does not match"));
            }
            if is_control(frame.topic) {
                control.push(body.to_vec());
            }
            body_at += u64::from(frame.body_bytes);
        }
        Ok(Ok((head, control)))
    }

    /// Whether a whole commit later than `expected` stands anywhere after `position`.
    pub(super) fn later_commit(&mut self, position: u64, expected: CommitSeq) -> Result<bool, LogError> {
        let bytes = (self.len - position).min(2 * COMMIT_BYTES_MAX as u64) as usize;
        let bytes = self.segment.read(position, bytes)?;
        for (at, _) in bytes.windows(4).enumerate().skip(1).filter(|(_, window)| window == b"CMT1") {
            if let Ok((head, _)) = self.commit(position + at as u64)?
                && head.seq > expected
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
