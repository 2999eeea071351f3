//! Group commit: one thread takes whatever has arrived, writes it, syncs once, then acknowledges.

use super::fence::Hold;
use super::footer;
use super::format::{CommitHead, FrameHead, HEADER_BYTES, SegmentHeader};
use super::index::Index;
use super::lanes::LaneKey;
use super::queue::{Queue, Waiting};
use super::segment::{SegmentFile, name_of};
use super::shared::Shared;
use super::tail_cache::{CachedCommit, CachedFrame, CachedRows};
use crate::contract::{Appended, LogError};
use chalk_catalog::ControlEvent;
use chalk_event::{CommitSeq, IngestTime, Offset};
use chalk_store::fail::{Point, pass};
use chalk_store::{AppendFile, Storage};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A group commit takes no more than this many bytes of bodies, so that one does not wait for ever larger ones.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// The buffer for a commit is kept for the next when it is no larger than this.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// The writer's own state.
pub(super) struct Writer {
    // configuration
    pub(super) storage: Arc<dyn Storage>,
    /// `None` when nobody keeps others from writing.
    pub(super) hold: Option<Hold>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: super::Clock,
    pub(super) node: [u8; 16],
    pub(super) segment_bytes_max: u64,
    /// In nanoseconds.
    pub(super) segment_age_max: i64,
    pub(super) full_disk_pause: Duration,
    // state
    /// The segment that is written to: the one whose index the readers have as the open one.
    pub(super) open: Option<Box<dyn AppendFile>>,
    pub(super) next: CommitSeq,
    pub(super) last_time: IngestTime,
    pub(super) buffer: Vec<u8>,
}

impl Writer {
    /// Runs until the queue is closed or something failed; after a failure every append is refused.
    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(group) = queue.take(GROUP_BYTES_MAX) {
            if let Err(error) = self.commit(group, queue) {
                self.shared.stop(&error);
                queue.close();
                while let Some(group) = queue.take(usize::MAX) {
                    for waiting in group {
                        let _ = waiting.answer.send(Err(self.shared.stopped()));
                    }
                }
                return;
            }
        }
    }

    fn commit(&mut self, mut group: Vec<Waiting>, queue: &Queue) -> Result<(), LogError> {
        let mut written = self.write(&mut group);
        while let Err(error) = &written
            && is_full(error)
            && self.undo().is_ok()
        {
            self.shared.state_mut().stalled = Some(error.to_string());
            if queue.closed_within(self.full_disk_pause) {
                break;
            }
            written = self.write(&mut group);
        }
        self.shared.state_mut().stalled = None;
        let answers = match written {
            Ok(answers) => answers,
            Err(error) => {
                for waiting in group {
                    let _ = waiting.answer.send(Err(LogError::Stopped(error.to_string())));
                }
                return Err(error);
            }
        };
        for (waiting, answer) in group.into_iter().zip(answers) {
            // Whoever appended may have gone; the append stands all the same.
            let _ = waiting.answer.send(Ok(answer));
        }
        Ok(())
    }

    /// Takes back what a write on a full disk has left, so that it can be tried again.
    fn undo(&mut self) -> Result<(), LogError> {
        let open = self.shared.state().open.as_ref().map(|open| (open.segment.name.clone(), open.index.end()));
        self.open = match open {
            Some((name, end)) => Some(self.storage.reopen(&name, end)?),
            None => {
                // A segment that could not be begun.
                self.storage.remove(&name_of(self.next))?;
                None
            }
        };
        Ok(())
    }

    fn write(&mut self, group: &mut [Waiting]) -> Result<Vec<Appended>, LogError> {
        // Before what else is in the group: nothing of that is to be written again when the disk is full.
        if group.iter().any(|waiting| waiting.seal) {
            self.seal_if(|_| true)?;
        }
        if group.iter().all(|waiting| waiting.frames.is_empty()) {
            let seq = CommitSeq(self.next.0 - 1);
            let nothing = Appended { commit_seq: seq, commit_time: self.last_time, base_offsets: Vec::new() };
            return Ok(vec![nothing; group.len()]);
        }
        let time = IngestTime((self.clock)().max(self.last_time.0));
        let (head, answers) = self.lay_out(group, time);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_MAX);
        head.encode(&mut self.buffer);
        for frame in group.iter().flat_map(|waiting| &waiting.frames) {
            self.buffer.extend_from_slice(&frame.body);
        }
        self.check_hold()?;
        self.seal_if_full(time)?;
        let file = match &mut self.open {
            Some(file) => file,
            None => {
                self.open.insert(begin_segment(&*self.storage, &self.shared, self.node, Index::new(self.next), false)?)
            }
        };
        pass(Point::LogBeforeWrite);
        file.append(&self.buffer)?;
        pass(Point::LogAfterWrite);
        file.sync()?;
        pass(Point::LogAfterSync);
        self.check_hold()?;
        self.next = head.seq.next();
        self.last_time = time;
        self.publish(&head, group)?;
        Ok(answers)
    }

    fn check_hold(&self) -> Result<(), LogError> {
        self.hold.as_ref().map_or(Ok(()), Hold::check)
    }

    /// Gives every frame its offsets.
    fn lay_out(&self, group: &[Waiting], time: IngestTime) -> (CommitHead, Vec<Appended>) {
        let mut head = CommitHead { seq: self.next, time, frames: Vec::new() };
        let mut tails: HashMap<LaneKey, Offset> = HashMap::new();
        let mut answers = Vec::with_capacity(group.len());
        let state = self.shared.state();
        for waiting in group {
            let mut base_offsets = Vec::with_capacity(waiting.frames.len());
            for frame in &waiting.frames {
                let lane = (frame.topic, frame.partition);
                let tail = tails.entry(lane).or_insert_with(|| state.lanes.get(lane).tail);
                let rows = frame.row_count;
                head.frames.push(FrameHead {
                    topic: frame.topic,
                    partition: frame.partition,
                    base_offset: *tail,
                    rows,
                    schema: frame.schema,
                    event_times: frame.event_times,
                    body_bytes: frame.body.len() as u32,
                    body_crc: frame.body_crc,
                });
                base_offsets.push(*tail);
                *tail = Offset(tail.0 + u64::from(rows));
            }
            answers.push(Appended { commit_seq: self.next, commit_time: time, base_offsets });
        }
        (head, answers)
    }

    /// The commit is durable: readers may see it.
    fn publish(&self, head: &CommitHead, group: &mut [Waiting]) -> Result<(), LogError> {
        let control: Vec<ControlEvent> =
            group.iter_mut().flat_map(|waiting| std::mem::take(&mut waiting.control)).collect();
        let commit = Arc::new(cached(head, group));
        let mut state = self.shared.state_mut();
        for event in control {
            state.control.apply(event)?;
        }
        for frame in &head.frames {
            state.lanes.add(frame, head.seq, head.time);
        }
        if let Some(open) = &mut state.open {
            open.index.add(head);
        }
        let gone = state.cache.push(commit);
        drop(state);
        drop(gone);
        self.shared.durable.send_replace(head.seq);
        Ok(())
    }

    /// Seals the open segment once it is large or old enough. It is synced before the next is begun.
    fn seal_if_full(&mut self, now: IngestTime) -> Result<(), LogError> {
        let (age_max, bytes_max) = (self.segment_age_max, self.segment_bytes_max);
        let is_old = |index: &Index| index.times().is_some_and(|(first, _)| now.0.saturating_sub(first.0) >= age_max);
        self.seal_if(|index| index.end() >= bytes_max || is_old(index))
    }

    /// Seals the open segment if a rule says so; it is synced before the next is begun.
    fn seal_if(&mut self, is_full: impl Fn(&Index) -> bool) -> Result<(), LogError> {
        let Some(file) = &mut self.open else { return Ok(()) };
        let footer = {
            let state = self.shared.state();
            let full = state.open.as_ref().filter(|open| is_full(&open.index));
            let Some(open) = full else { return Ok(()) };
            let control = state.control.encode()?;
            footer::encode(&open.index, &control, &state.lanes, state.segments)
        };
        // A segment without commits is not sealed, however small segments are to be.
        let Some(footer) = footer else { return Ok(()) };
        pass(Point::LogBeforeFooter);
        file.append(&footer)?;
        file.sync()?;
        pass(Point::LogAfterFooter);
        self.open = None;
        let mut state = self.shared.state_mut();
        if let Some(mut open) = state.open.take() {
            state.segments.add(open.segment.first, open.index.end() + footer.len() as u64);
            Arc::make_mut(&mut state.sealed).push(open.segment.first);
            state.lanes.begin_segment();
            drop(state);
            open.index.seal();
            self.shared.footers.keep_index(open.segment, open.index);
        }
        Ok(())
    }
}

/// Whether a write failed for want of room, and nothing else is in doubt: after a failed sync something is.
fn is_full(error: &LogError) -> bool {
    matches!(error, LogError::Storage(failed)
        if failed.is_full() && matches!(failed.operation, "write" | "create"))
}

/// Writes the header of the segment of an index, which readers have as the open one from here on.
pub(super) fn begin_segment(
    storage: &dyn Storage,
    shared: &Shared,
    node: [u8; 16],
    index: Index,
    again: bool,
) -> Result<Box<dyn AppendFile>, LogError> {
    let name = name_of(index.first());
    let mut file = if again { storage.reopen(&name, 0)? } else { storage.create(&name)? };
    file.append(&SegmentHeader { node, first: index.first() }.encode())?;
    file.sync()?;
    pass(Point::LogBeforeDirectorySync);
    storage.sync_directory()?;
    debug_assert_eq!(index.end(), HEADER_BYTES as u64);
    let segment = SegmentFile::open(storage, index.first())?;
    shared.state_mut().open = Some(super::sealed::IndexedSegment { segment, index });
    Ok(file)
}

/// The commit for tailing readers.
fn cached(head: &CommitHead, group: &mut [Waiting]) -> CachedCommit {
    let mut commit = CachedCommit {
        seq: head.seq,
        time: head.time,
        frames: Vec::with_capacity(head.frames.len()),
        held_bytes: size_of::<CachedCommit>(),
    };
    let appended = group.iter_mut().flat_map(|waiting| &mut waiting.frames);
    for (head, frame) in head.frames.iter().zip(appended) {
        let body_bytes = frame.body.len();
        let (rows, held) = match frame.kept.take() {
            Some((rows, held)) => (CachedRows::Rows(rows), held),
            None => (CachedRows::Body(std::mem::take(&mut frame.body)), body_bytes),
        };
        let (topic, partition, base_offset, schema) = (head.topic, head.partition, head.base_offset, head.schema);
        commit.frames.push(CachedFrame { topic, partition, base_offset, schema, body_bytes, rows });
        commit.held_bytes += size_of::<CachedFrame>() + held;
    }
    commit
}
