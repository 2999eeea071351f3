//! Appends that wait for the writer: bounded, in the order of the calls.

use crate::contract::{Appended, LogError};
use arrow::array::RecordBatch;
use chalk_catalog::{ControlEvent, SchemaId, TopicId};
use chalk_event::{EventTime, PartitionId};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A frame with its body.
#[derive(Debug)]
pub(super) struct EncodedFrame {
    pub(super) topic: TopicId,
    pub(super) partition: PartitionId,
    pub(super) schema: SchemaId,
    pub(super) event_times: Option<(EventTime, EventTime)>,
    pub(super) row_count: u32,
    pub(super) body: Vec<u8>,
    pub(super) body_crc: u32,
    /// The rows and how much memory they hold, for tailing readers.
    pub(super) kept: Option<(RecordBatch, usize)>,
}

impl EncodedFrame {
    /// How much memory it takes.
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.kept.as_ref().map_or(0, |(_, held)| *held)
    }
}

/// An append that waits for the writer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frames: Vec<EncodedFrame>,
    /// The control events among its rows.
    pub(super) control: Vec<ControlEvent>,
    /// Whether to seal the segment with what was acknowledged before.
    pub(super) seal: bool,
    pub(super) answer: oneshot::Sender<Result<Appended, LogError>>,
}

impl Waiting {
    pub(super) fn body_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.body.len()).sum()
    }

    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.frames.iter().map(EncodedFrame::held_bytes).sum::<usize>()
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    // configuration
    bytes_max: usize,
    // state
    state: Mutex<State>,
    /// Something waits, or the queue is closed.
    arrived: Condvar,
    /// Something was taken, or the queue is closed.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Takes appends until they have `bytes_max` of memory.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default(), arrived: Condvar::new(), taken: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the queue is full, then takes a place at its end; gives the append back when the queue is closed.
    pub(super) fn push(&self, append: Waiting) -> Result<(), Waiting> {
        let full = |state: &mut State| state.bytes >= self.bytes_max && !state.closed;
        let mut state = self.taken.wait_while(self.state(), full).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(append);
        }
        state.bytes += append.held_bytes();
        state.waiting.push_back(append);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits until something has arrived, then takes what has, until it has `bytes_max` of bodies. `None` when the queue is
    /// closed and empty.
    pub(super) fn take(&self, bytes_max: usize) -> Option<Vec<Waiting>> {
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.arrived.wait_while(self.state(), nothing).unwrap_or_else(PoisonError::into_inner);
        let (mut group, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(next) = state.waiting.pop_front()
        {
            state.bytes -= next.held_bytes();
            bytes += next.body_bytes();
            group.push(next);
        }
        drop(state);
        self.taken.notify_all();
        (!group.is_empty()).then_some(group)
    }

    /// Waits for a time, or until the queue is closed; says whether it is.
    pub(super) fn closed_within(&self, time: Duration) -> bool {
        let (state, _) = self
            .taken
            .wait_timeout_while(self.state(), time, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.closed
    }

    /// Takes no more appends; what waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
        self.taken.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn waiting(bytes: usize) -> Waiting {
        let frame = EncodedFrame {
            topic: TopicId(16),
            partition: PartitionId(0),
            schema: SchemaId(16),
            event_times: None,
            row_count: 1,
            body: vec![0; bytes],
            body_crc: 0,
            kept: None,
        };
        Waiting { frames: vec![frame], control: Vec::new(), seal: false, answer: oneshot::channel().0 }
    }

    fn sizes(group: Option<Vec<Waiting>>) -> Option<Vec<usize>> {
        group.map(|group| group.iter().map(Waiting::body_bytes).collect())
    }

    #[test]
    fn what_has_arrived_is_taken_at_once_and_in_order() {
        let queue = Queue::new(1 << 20);
        for bytes in [1, 2, 3, 4] {
            queue.push(waiting(bytes)).expect("an open queue");
        }
        assert_eq!(sizes(queue.take(6)), Some(vec![1, 2, 3]));
        queue.close();
        assert!(queue.push(waiting(5)).is_err());
        assert_eq!(sizes(queue.take(6)), Some(vec![4]), "what was taken in before is not lost");
        assert_eq!(sizes(queue.take(6)), None);
    }

    #[test]
    fn a_full_queue_blocks_until_something_is_taken() {
        let queue = Queue::new(1000);
        queue.push(waiting(2000)).expect("an open queue");
        let (done, pushed) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                queue.push(waiting(7)).expect("an open queue");
                done.send(()).expect("somebody who waits");
            });
            assert!(pushed.recv_timeout(Duration::from_millis(50)).is_err(), "it is full");
            assert_eq!(sizes(queue.take(1)), Some(vec![2000]));
            pushed.recv().expect("a place");
        });
        assert_eq!(sizes(queue.take(1)), Some(vec![7]));
    }
}
