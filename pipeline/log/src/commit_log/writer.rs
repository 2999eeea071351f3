//! Group commit: one thread takes whatever has arrived, writes it, syncs once, then acknowledges.

use super::Shared;
use super::format::{CommitHead, FrameHead, HEADER_BYTES, SegmentHeader, encode_footer};
use super::index::Segment;
use crate::contract::{Append, Appended, Commit, Frame, LogError};
use chalk_catalog::TopicId;
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use chalk_store::{AppendFile, Storage};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// A group commit takes no more than this many bytes of bodies, so that one does not wait for ever larger ones.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// An append with its encoded bodies, waiting for the writer.
pub(super) struct Waiting {
    pub(super) append: Append,
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) answer: oneshot::Sender<Result<Appended, LogError>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.bodies.iter().map(Vec::len).sum()
    }
}

/// The writer's own state.
pub(super) struct Writer {
    // configuration
    pub(super) storage: Arc<dyn Storage>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: super::Clock,
    pub(super) node: [u8; 16],
    pub(super) segment_bytes_max: u64,
    // state
    pub(super) open: Option<OpenSegment>,
    pub(super) next: CommitSeq,
    pub(super) last_time: IngestTime,
}

/// The segment that is written to.
pub(super) struct OpenSegment {
    pub(super) file: Box<dyn AppendFile>,
    pub(super) len: u64,
}

impl Writer {
    /// Runs until every sender is gone or something failed; after a failure every append is refused.
    pub(super) fn run(mut self, queue: &Receiver<Waiting>) {
        while let Ok(first) = queue.recv() {
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.bytes();
                group.push(next);
            }
            if let Err(error) = self.commit(group) {
                self.shared.stop(&error);
                while let Ok(waiting) = queue.recv() {
                    let _ = waiting.answer.send(Err(self.shared.stopped()));
                }
                return;
            }
        }
    }

    fn commit(&mut self, group: Vec<Waiting>) -> Result<(), LogError> {
        let answers = match self.write(&group) {
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

    fn write(&mut self, group: &[Waiting]) -> Result<Vec<Appended>, LogError> {
        if group.iter().all(|waiting| waiting.append.frames.is_empty()) {
            let seq = CommitSeq(self.next.0 - 1);
            let nothing = Appended { commit_seq: seq, commit_time: self.last_time, base_offsets: Vec::new() };
            return Ok(vec![nothing; group.len()]);
        }
        let time = IngestTime((self.clock)().max(self.last_time.0));
        let (head, answers) = self.lay_out(group, time);
        let mut bytes = Vec::with_capacity(head.commit_bytes() as usize);
        head.encode(&mut bytes);
        for body in group.iter().flat_map(|waiting| &waiting.bodies) {
            bytes.extend(body);
        }
        self.roll_if_full()?;
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(begin_segment(&*self.storage, &self.shared, self.node, self.next)?),
        };
        open.file.append(&bytes)?;
        open.file.sync()?;
        let position = open.len;
        open.len += bytes.len() as u64;
        self.next = head.seq.next();
        self.last_time = time;
        let commit = Commit { seq: head.seq, time, frames: frames_of(&head, group) };
        self.shared.publish(position, head, commit, bytes.len());
        Ok(answers)
    }

    /// Gives every frame its offsets.
    fn lay_out(&self, group: &[Waiting], time: IngestTime) -> (CommitHead, Vec<Appended>) {
        let mut head = CommitHead { seq: self.next, time, frames: Vec::new() };
        let mut tails: HashMap<(TopicId, PartitionId), Offset> = HashMap::new();
        let mut answers = Vec::with_capacity(group.len());
        for waiting in group {
            let mut base_offsets = Vec::with_capacity(waiting.bodies.len());
            for (frame, body) in waiting.append.frames.iter().zip(&waiting.bodies) {
                let tail = tails
                    .entry((frame.topic, frame.partition))
                    .or_insert_with(|| self.shared.tail(frame.topic, frame.partition));
                let rows = frame.rows.num_rows() as u32;
                head.frames.push(FrameHead {
                    topic: frame.topic,
                    partition: frame.partition,
                    base_offset: *tail,
                    rows,
                    schema: frame.schema,
                    event_times: frame.event_times,
                    body_bytes: body.len() as u32,
                    body_crc: crc32c::crc32c(body),
                });
                base_offsets.push(*tail);
                *tail = Offset(tail.0 + u64::from(rows));
            }
            answers.push(Appended { commit_seq: self.next, commit_time: time, base_offsets });
        }
        (head, answers)
    }

    /// Seals the open segment once it is large enough. It is synced before the next is begun.
    fn roll_if_full(&mut self) -> Result<(), LogError> {
        let Some(mut open) = self.open.take_if(|open| open.len >= self.segment_bytes_max) else {
            return Ok(());
        };
        let footer = {
            let state = self.shared.state();
            let commits = state.index.segments.last().map_or(&[][..], |segment| &segment.commits);
            encode_footer(commits.iter().map(|(position, head)| (*position, &**head)))
        };
        open.file.append(&footer)?;
        open.file.sync()?;
        Ok(())
    }
}

fn begin_segment(
    storage: &dyn Storage,
    shared: &Shared,
    node: [u8; 16],
    first: CommitSeq,
) -> Result<OpenSegment, LogError> {
    let name = format!("{:020}.log", first.0);
    let mut file = storage.create(&name)?;
    file.append(&SegmentHeader { node, first }.encode())?;
    file.sync()?;
    storage.sync_directory()?;
    let reader = storage.open(&name)?;
    shared.state_mut().index.segments.push(Segment { name, file: reader, commits: Vec::new() });
    Ok(OpenSegment { file, len: HEADER_BYTES as u64 })
}

fn frames_of(head: &CommitHead, group: &[Waiting]) -> Vec<Frame> {
    let appended = group.iter().flat_map(|waiting| &waiting.append.frames);
    head.frames
        .iter()
        .zip(appended)
        .map(|(head, frame)| Frame {
            topic: head.topic,
            partition: head.partition,
            base_offset: head.base_offset,
            rows: frame.rows.clone(),
        })
        .collect()
}
