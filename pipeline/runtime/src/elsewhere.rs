//! A log whose topic is elsewhere: clients' events go there first, and are in our log when they come back.
//!
//! ```text
//!            preview: refused ─▶ dead letters
//! client ─▶    │ accepted                                        others' events
//!              ▼                                                       ▼
//!          publish ─────────────▶ the topic elsewhere ◀────────────────┘
//!                                        │ source
//!          receipt ◀── reached ◀── door, our log ─▶ the pipeline
//! ```
//!
//! Our log gives what comes back its order; replays, history and queries need nothing else. One group of appends is on its way at a
//! time, so that each is judged knowing all that came before it; those that come meanwhile are the next group.

use crate::error::RuntimeError;
use crate::reached::{NotReached, Reached};
use chalk_connect::{Event, Publish, Source};
use chalk_ingest::{Door, DoorError, Intake, Receipt, SUBMIT_BYTES_MAX, Submitted};
use futures::channel::oneshot;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A group has about so many bytes.
const GROUP_BYTES: usize = 4 << 20;
/// What the topic has taken comes back in this time, or it is said that it does not.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topic elsewhere, from both sides.
pub struct Elsewhere {
    /// Under which it is journalled how far its partitions were read; no table's name.
    pub name: String,
    /// What gives its events.
    pub source: Box<dyn Source>,
    /// What takes events.
    pub publish: Box<dyn Publish>,
}

/// Clients' events, on their way through a topic elsewhere.
pub(crate) struct Through {
    /// `None` once it is being dropped.
    queue: Mutex<Option<Sender<Request>>>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    source: String,
    text: Vec<u8>,
    answer: oneshot::Sender<Result<Receipt, DoorError>>,
}

struct Publisher {
    publish: Box<dyn Publish>,
    door: Arc<Door>,
    reached: Arc<Reached>,
}

impl Through {
    pub(crate) fn start(
        publish: Box<dyn Publish>,
        door: Arc<Door>,
        reached: Arc<Reached>,
    ) -> Result<Self, RuntimeError> {
        let (queue, requests) = channel();
        let mut publisher = Publisher { publish, door, reached };
        let thread = std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || publisher.run(&requests))
            .map_err(|error| RuntimeError::Threads(error.to_string()))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Some(thread) })
    }
}

impl Intake for Through {
    fn submit(&self, source: &str, text: &[u8]) -> Result<Submitted, DoorError> {
        // What is too much is told to whom it concerns, and not to the group that it would be in.
        if text.len() > SUBMIT_BYTES_MAX {
            return Err(DoorError::TooMuch { bytes: text.len(), limit: SUBMIT_BYTES_MAX });
        }
        let (answer, answered) = oneshot::channel();
        let request = Request { source: source.to_owned(), text: text.to_vec(), answer };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = queue.as_ref().is_some_and(|queue| queue.send(request).is_ok());
        if sent { Ok(Submitted::elsewhere(answered)) } else { Err(DoorError::Closed) }
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        self.queue.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Publisher {
    fn run(&mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let (mut bytes, mut group) = (first.text.len(), vec![first]);
            while bytes < GROUP_BYTES
                && let Ok(next) = requests.try_recv()
            {
                bytes += next.text.len();
                group.push(next);
            }
            let texts: Vec<(&str, &[u8])> =
                group.iter().map(|request| (request.source.as_str(), request.text.as_slice())).collect();
            let receipts = self.take(&texts);
            let failed = receipts.as_ref().err().map(ToString::to_string);
            let mut receipts = receipts.unwrap_or_default().into_iter();
            for request in group {
                let answer = receipts.next().ok_or_else(|| DoorError::Elsewhere(failed.clone().unwrap_or_default()));
                // Who does not wait any more needs no answer.
                let _ = request.answer.send(answer);
            }
        }
    }

    fn take(&mut self, texts: &[(&str, &[u8])]) -> Result<Vec<Receipt>, DoorError> {
        let only_texts: Vec<&[u8]> = texts.iter().map(|(_, text)| *text).collect();
        let previews = self.door.preview(&only_texts, self.publish.event_bytes_max())?;
        let events: Vec<Event<'_>> = previews
            .iter()
            .flat_map(|preview| &preview.events)
            .map(|event| Event { key: event.tenant.as_deref(), text: event.text })
            .collect();
        if !events.is_empty() {
            let wanted = self.publish.publish(&events).map_err(|error| DoorError::Elsewhere(error.to_string()))?;
            self.reached.wait(&wanted, PATIENCE).map_err(|why| match why {
                NotReached::Ended => DoorError::Closed,
                NotReached::Late => DoorError::Elsewhere(format!(
                    "the topic has taken these events, but they have not come back within {} s\n  \
                     hint: they will, once it can be read; sent again they are duplicates",
                    PATIENCE.as_secs()
                )),
            })?;
        }
        for ((source, _), preview) in texts.iter().zip(&previews) {
            if let Some(kept) = self.door.keep_refused(source, preview)? {
                kept.wait()?;
            }
        }
        // By now all of it is in the log.
        let commit = *self.door.log().durable().borrow();
        Ok(previews.into_iter().map(|preview| Receipt { commit, ..preview.receipt }).collect())
    }
}

#[cfg(test)]
mod tests;
