//! [`Door`]: decisions are made under one lock, in the order in which appends take their places in the log.

use crate::accept::{Draft, Outbox};
use crate::error::DoorError;
use crate::identity::Scratch;
use crate::keeper::{Keeper, Kept, Shared};
use crate::memory::{Extent, Memory, Upto};
use crate::rebuild::{remember, remember_values, replay};
use crate::receipt::Receipt;
use crate::rows::Rows;
use crate::rules::{KeptUnder, Rules};
use crate::submitted::{Intake, Submitted};
use chalk_codec::LineFormat;
use chalk_event::CommitSeq;
use chalk_log::{Append, EventLog, Pending};
use chalk_store::Storage;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One submit may have this many bytes; a client sends more in several.
pub const SUBMIT_BYTES_MAX: usize = 32 << 20;

/// Reads the time, in nanoseconds since the Unix epoch.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a door is opened.
#[derive(Clone)]
pub struct DoorOptions {
    /// Where the times of receipt come from.
    pub clock: Clock,
    /// Where the ids of accepted events are kept, in files of this door alone; without it, in memory, all of them.
    pub ids: Option<Arc<dyn Storage>>,
    /// When so many ids are in memory, they are written to disk: meanwhile there are up to three times as many, at about 40 bytes.
    pub ids_in_memory_max: usize,
}

impl DoorOptions {
    /// The defaults, with the given clock; ids are kept in memory.
    #[must_use]
    pub fn new(clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self { clock, ids: None, ids_in_memory_max: 200_000 }
    }

    /// The same, with ids kept in `storage`.
    #[must_use]
    pub fn keeping_ids_in(self, storage: Arc<dyn Storage>) -> Self {
        Self { ids: Some(storage), ..self }
    }
}

/// Fewer ids than this are not worth two files when the door closes: the next one reads them from the log as quickly.
const CLOSING_IDS_MIN: usize = 1000;

/// The one way into a log.
pub struct Door {
    log: Arc<dyn EventLog>,
    clock: Clock,
    rules: Mutex<Arc<Rules>>,
    shared: Arc<Shared>,
    keeper: Option<Keeper>,
}

impl Door {
    /// Opens the door of a log: finds out what was accepted, from the ids that are kept on disk and from what the log has beyond
    /// them. Ids that are not there, damaged, of a newer build or of another log are made anew from the log.
    ///
    /// # Errors
    /// When the log cannot be read, or ids cannot be kept.
    pub fn open(log: Arc<dyn EventLog>, options: DoorOptions) -> Result<Self, DoorError> {
        let rules = Arc::new(Rules::of(log.topics()));
        let kept = options.ids.map(|storage| Kept::open(storage, &*log, &rules)).transpose()?;
        let after = kept.as_ref().map_or(CommitSeq(0), Kept::covers);
        let runs = kept.as_ref().map(|kept| kept.runs().clone());
        let shared = Arc::new(Shared::new(Memory::new(options.ids_in_memory_max, Arc::clone(&rules), runs)));
        let keeper = kept.map(|kept| Keeper::start(kept, Arc::clone(&log), Arc::clone(&shared))).transpose()?;
        replay(&*log, &rules, after, |commits, upto| {
            let mut memory = shared.memory();
            commits.iter().for_each(|commit| remember(&mut memory, &rules, commit));
            if memory.is_full() {
                drop(shared.freeze(memory, || Ok(Upto::Known(Extent::upto(upto))))?);
            }
            Ok(())
        })?;
        shared.memory().accepted = 0;
        Ok(Self { log, clock: options.clock, rules: Mutex::new(rules), shared, keeper })
    }

    /// The log behind the door.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// The rules of the topics as they are now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        let topics = self.log.topics();
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if !rules.are_of(&topics) {
            *rules = Arc::new(Rules::of(topics));
        }
        Arc::clone(&rules)
    }

    /// Takes events as JSON, one object a line; empty lines are skipped. `source` says in dead letters who brought them.
    ///
    /// All of it is appended at once. Blocks while the log's queue is full, and while more ids wait to be written to disk than there
    /// is room for: never call it on an async task's thread.
    ///
    /// # Errors
    /// When it is too much at once, the log does not take it, or ids cannot be kept or looked up. Nothing was appended then. Bad
    /// events are no error: they are in the receipt.
    pub fn submit(&self, source: &str, text: &[u8]) -> Result<Submitted, DoorError> {
        self.submit_with(source, 1, text, None, &Append::default())
    }

    /// As [`Door::submit`], for the lines of a table without envelope; `with` is appended in the same commit.
    ///
    /// # Errors
    /// As for [`Door::submit`]; and when a row cannot be read and the table is to stop then.
    #[expect(clippy::needless_pass_by_value, reason = "what is appended is given away")]
    pub fn submit_rows(&self, source: &str, text: &[u8], rows: &Rows, with: Append) -> Result<Submitted, DoorError> {
        self.submit_with(source, rows.first_line, text, Some(rows), &with)
    }

    pub(crate) fn submit_with(
        &self,
        source: &str,
        first_line: u64,
        text: &[u8],
        table: Option<&Rows>,
        with: &Append,
    ) -> Result<Submitted, DoorError> {
        if text.len() > SUBMIT_BYTES_MAX {
            return Err(DoorError::TooMuch { bytes: text.len(), limit: SUBMIT_BYTES_MAX });
        }
        let topic = table.map(|rows| rows.topic);
        let lines = || lines(first_line, text);
        let expanded = match table {
            Some(rows) if rows.format != LineFormat::Json => {
                Some(lines().map(|(number, line)| (number, line, rows.format.events(line))).collect::<Vec<_>>())
            }
            _ => None,
        };
        let scratch = &mut Scratch::default();
        loop {
            let (rules, now) = (self.rules(), self.now());
            // Decoding needs no lock: it is most of the work.
            let mut drafts: Vec<Draft<'_>> = match &expanded {
                None => lines().map(|(number, line)| Draft::read(number, line, &rules, topic, now, scratch)).collect(),
                Some(expanded) => {
                    let mut drafts = Vec::with_capacity(expanded.len());
                    for (number, line, events) in expanded {
                        match events {
                            Ok(events) => {
                                drafts.extend(Draft::of_line(*number, line, events, &rules, topic, now, scratch));
                            }
                            Err(bad) => drafts.push(Draft::bad(*number, line, bad.clone())),
                        }
                    }
                    drafts
                }
            };
            let dropped = match table {
                Some(rows) => rows.bad_data.judge(source, &mut drafts)?,
                None => 0,
            };
            if let Some((receipt, pending)) = self.append_decided(source, &rules, now, drafts, with)? {
                return Ok(Submitted::here(Receipt { dropped, ..receipt }, pending));
            }
        }
    }

    /// Decides about drafts made by `rules` and appends what comes of it, `with` in the same commit. `None` when the topics are no
    /// longer those of the rules: the drafts have to be made anew.
    pub(crate) fn append_decided(
        &self,
        source: &str,
        rules: &Arc<Rules>,
        now: i64,
        drafts: Vec<Draft<'_>>,
        with: &Append,
    ) -> Result<Option<(Receipt, Pending)>, DoorError> {
        let mut memory = self.room()?;
        if !rules.are_of(&self.log.topics()) {
            return Ok(None);
        }
        self.follow(&mut memory, rules)?;
        // Still under the lock: decisions and places are in one order, and whoever is told "duplicate" waits for the first.
        let appended = decide(source, now, drafts, &mut memory).and_then(|(receipt, mut append)| {
            append.frames.extend(with.frames.iter().cloned());
            Ok((receipt, self.log.append(append)?))
        });
        match appended {
            Ok(done) => {
                memory.settle();
                Ok(Some(done))
            }
            Err(error) => {
                memory.forget_unsettled();
                drop(memory);
                if let (DoorError::IdsUnreadable(_), Some(keeper)) = (&error, &self.keeper) {
                    keeper.distrust();
                }
                Err(error)
            }
        }
    }

    /// The memory, once there is room in it.
    pub(crate) fn room(&self) -> Result<MutexGuard<'_, Memory>, DoorError> {
        let memory = self.shared.memory();
        if memory.is_full() { self.freeze(memory) } else { Ok(memory) }
    }

    /// Hands what is at hand over to be written. Everything of it was appended before the empty append here, which is durable only
    /// after all that came before it.
    fn freeze<'m>(&'m self, memory: MutexGuard<'m, Memory>) -> Result<MutexGuard<'m, Memory>, DoorError> {
        self.shared.freeze(memory, || Ok(Upto::Barrier(Some(self.log.append(Append::default())?))))
    }

    /// Lets the memory go by new rules: values that fields point at only now are read from the log.
    pub(crate) fn follow(&self, memory: &mut Memory, rules: &Arc<Rules>) -> Result<(), DoorError> {
        if Arc::ptr_eq(&memory.rules, rules) {
            return Ok(());
        }
        let before = memory.rules.pointed_at();
        let new: BTreeSet<KeptUnder> = rules.pointed_at().difference(&before).cloned().collect();
        if !new.is_empty() {
            self.log.append(Append::default())?.wait()?; // what was appended becomes durable, and so can be read
            replay(&*self.log, rules, CommitSeq(0), |commits, _| {
                for frame in commits.iter().flat_map(|commit| &commit.frames) {
                    if let Some(topic) = rules.topic(frame.topic) {
                        remember_values(memory, topic, &frame.rows, |kept_under| new.contains(kept_under));
                    }
                }
                Ok(())
            })?;
            memory.settle();
        }
        memory.rules = Arc::clone(rules);
        Ok(())
    }

    /// Writes the ids that are only in memory to disk, if they are kept there, so that the next door opens at once. Closing a door
    /// does it too, when it accepted events and there are enough of them.
    ///
    /// # Errors
    /// When the log or the disk fails.
    pub fn flush(&self) -> Result<(), DoorError> {
        if self.keeper.is_none() {
            return Ok(());
        }
        let mut memory = self.shared.memory();
        if memory.recent.len() > 0 {
            memory = self.freeze(memory)?;
        }
        self.shared.written(memory)
    }
}

impl Intake for Door {
    fn submit(&self, source: &str, text: &[u8]) -> Result<Submitted, DoorError> {
        Self::submit(self, source, text)
    }
}

impl Drop for Door {
    /// Writes what is worth it; the keeper then ends what goes on in the background.
    fn drop(&mut self) {
        let worth_it = {
            let memory = self.shared.memory();
            memory.accepted > 0 && memory.recent.len() >= CLOSING_IDS_MIN
        };
        if worth_it {
            // The log has them all: without this the next door only takes longer to open.
            let _ = self.flush();
        }
    }
}

/// Lines with their numbers, but for empty ones.
pub(crate) fn lines(first_line: u64, text: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = (first_line..).zip(text.split(|&byte| byte == b'\n'));
    lines.filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// Decides about all drafts.
fn decide(source: &str, now: i64, drafts: Vec<Draft<'_>>, memory: &mut Memory) -> Result<(Receipt, Append), DoorError> {
    let mut outbox = Outbox::new(source, now);
    for draft in drafts {
        outbox.decide(draft, memory)?;
    }
    outbox.finish()
}
