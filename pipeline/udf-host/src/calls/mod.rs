//! Calls of an async function: many at a time, in worker processes, each answered or given up in its own time.
//!
//! ```text
//!                                     ┌▶ worker ─┐
//! rows ─▶ reserve ─▶ send ─▶ unsent ──┤          ├─▶ answers
//!          (limit,                    └▶ worker ─┤
//!           permits)                             ├─▶ too late: given up, or unsent again after a while
//!                                                └─▶ lost with a worker: suspects ─▶ a worker of their own
//! ```
//!
//! A row that does not come back in time is given up, as often as it may be tried again; so is one whose error may pass, as the function's settings say. What has become of its future is the worker's business, and a worker with many such is replaced.
//! When a worker dies, or its library panics, any of the rows that it had can be the reason. They are tried again in a worker of their own, all
//! together, then by halves, until the row at fault is alone: see [`suspects`].

mod current;
mod limit;
mod permits;
mod suspects;

pub use current::CurrentFunction;
pub use permits::Permits;

use crate::declaration::{AsyncOptions, Declaration};
use crate::settings::Settings;
use crate::worker::{Running, Said};
use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::error::ArrowError;
use chalk_catalog::FunctionIdentity;
use limit::Limit;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use suspects::Suspects;

/// A worker that has given up so many rows' futures, which may still run in it, is replaced.
const ABANDONED_MAX: usize = 256;
/// A worker that dies again and again is started after so long, then twice that.
const BACK_OFF: Duration = Duration::from_millis(100);
/// At most.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A row is tried again after its function's back-off, doubled so often at most.
const BACK_OFF_DOUBLED_MAX: u32 = 6;
/// A worker that cannot be started for so often cannot be started.
const STARTS_MAX: u32 = 5;

/// An async function of a library, ready to be called.
#[derive(Clone, Debug)]
pub struct AsyncFunction {
    identity: FunctionIdentity,
    declaration: Declaration,
    options: AsyncOptions,
    settings: Settings,
    library: PathBuf,
    program: Vec<OsString>,
}

impl AsyncFunction {
    pub(crate) fn new(
        identity: FunctionIdentity,
        declaration: Declaration,
        options: AsyncOptions,
        settings: Settings,
        library: PathBuf,
        program: Vec<OsString>,
    ) -> Self {
        Self { identity, declaration, options, settings, library, program }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &FunctionIdentity {
        &self.identity
    }

    /// How it wants to be called.
    #[must_use]
    pub fn options(&self) -> AsyncOptions {
        self.options
    }

    /// Begins to call it. `wake` is called, from any thread, when there may be answers.
    #[must_use]
    pub fn calls(self: &Arc<Self>, permits: &Permits, wake: Arc<dyn Fn() + Send + Sync>) -> Calls {
        let (heard_by, heard) = channel();
        let slots = (0..self.settings.workers + 1).map(|_| Slot::default()).collect();
        Calls {
            function: Arc::clone(self),
            permits: permits.clone(),
            wake,
            heard_by,
            heard,
            began: Instant::now(),
            slots,
            workers: 0,
            reserved: 0,
            flights: HashMap::new(),
            unsent: VecDeque::new(),
            delayed: BTreeSet::new(),
            deadlines: VecDeque::new(),
            suspects: Suspects::default(),
            answers: Vec::new(),
            limit: Limit::new(self.options.allowed_in_flight),
            broken: None,
        }
    }
}

/// What became of rows.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Results of rows, by their tickets.
    Given(Vec<u64>, ArrayRef),
    /// The function fails for a row, or takes too long for it, and this is what is known of it.
    Failed(u64, String),
}

/// A function's calls. Workers are ended when this is dropped.
pub struct Calls {
    // configuration
    function: Arc<AsyncFunction>,
    permits: Permits,
    wake: Arc<dyn Fn() + Send + Sync>,
    heard_by: Sender<(u64, Said)>,
    heard: Receiver<(u64, Said)>,
    began: Instant,
    // state
    /// The last one is for suspects.
    slots: Vec<Slot>,
    /// How many workers there have been.
    workers: u64,
    /// Permits that are taken for rows to come.
    reserved: usize,
    /// Rows without an answer; each has a permit.
    flights: HashMap<u64, Flight>,
    unsent: VecDeque<u64>,
    /// Rows to be sent again, and when.
    delayed: BTreeSet<(Instant, u64)>,
    /// By when rows that were sent are to be answered, in order; some have been since.
    deadlines: VecDeque<(Instant, u64)>,
    suspects: Suspects,
    answers: Vec<Answer>,
    limit: Limit,
    /// Why it cannot be called at all.
    broken: Option<String>,
}

/// A row in flight.
struct Flight {
    columns: Arc<Vec<ArrayRef>>,
    row: u32,
    /// When it was sent, and to which slot.
    sent: Option<(Instant, usize)>,
    /// How often it took too long, or had an error that may pass.
    tries: u32,
    /// Whether it is to be tried alone.
    alone: bool,
    /// How often a worker died that had nothing else to do.
    deaths: u32,
}

/// A place for a worker.
#[derive(Default)]
struct Slot {
    /// With the number that it is known by.
    running: Option<(u64, Running)>,
    /// Rows that it has and that are waited for.
    in_flight: usize,
    /// Rows that it may have and that nobody waits for.
    abandoned: usize,
    /// How often it died since it gave an answer.
    deaths: u32,
    not_before: Option<Instant>,
}

impl Slot {
    fn is_full_of_abandoned(&self) -> bool {
        self.abandoned >= ABANDONED_MAX
    }

    fn can_take(&self, now: Instant) -> bool {
        !self.is_full_of_abandoned() && self.not_before.is_none_or(|time| time <= now)
    }

    /// Without a worker: it died, or is no good any more.
    fn empty(&mut self) {
        self.running = None;
        (self.in_flight, self.abandoned) = (0, 0);
    }

    fn dies(&mut self, now: Instant) {
        self.empty();
        let after = BACK_OFF.saturating_mul(1 << self.deaths.min(10)).min(BACK_OFF_MAX);
        // The first time can be one row's fault.
        self.not_before = (self.deaths > 0).then(|| now + after);
        self.deaths += 1;
    }
}

impl Calls {
    /// Takes room for up to `wanted` rows, which are to be sent next; gives how many there is room for.
    pub fn reserve(&mut self, wanted: usize) -> usize {
        let room = self.limit.now().saturating_sub(self.flights.len() + self.reserved);
        let got = self.permits.take(wanted.min(room));
        self.reserved += got;
        got
    }

    /// How many rows are without an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How many there may be at a time, as it is now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.now()
    }

    /// Sends rows that there was room for: their tickets, which must be new, and columns of the function's arguments. Rows with a NULL that the
    /// function does not take are not sent: their result is NULL.
    ///
    /// # Errors
    /// When the columns are not those of its arguments.
    pub fn send(&mut self, tickets: &[u64], columns: Vec<ArrayRef>) -> Result<(), ArrowError> {
        let columns = Arc::new(columns);
        let arguments = &self.function.declaration.arguments;
        let is_missing = |row: usize| {
            columns.iter().zip(arguments).any(|(column, argument)| !argument.value.nullable && column.is_null(row))
        };
        let mut missing = Vec::new();
        for (row, &ticket) in tickets.iter().enumerate() {
            if is_missing(row) {
                missing.push(ticket);
                continue;
            }
            let row = u32::try_from(row).map_err(|_| ArrowError::InvalidArgumentError("too many rows".to_owned()))?;
            let flight = Flight { columns: Arc::clone(&columns), row, sent: None, tries: 0, alone: false, deaths: 0 };
            self.flights.insert(ticket, flight);
            self.unsent.push_back(ticket);
        }
        self.reserved = self.reserved.saturating_sub(tickets.len());
        if !missing.is_empty() {
            self.permits.give_back(missing.len());
            let nulls = new_null_array(&self.function.declaration.returns.value_type.arrow(), missing.len());
            self.answers.push(Answer::Given(missing, nulls));
        }
        self.dispatch(Instant::now())
    }

    /// What has been answered since, or given up. It does not wait: see [`Calls::wake_at`].
    ///
    /// # Errors
    /// When the function cannot be called at all.
    pub fn answers(&mut self) -> Result<Vec<Answer>, String> {
        let now = Instant::now();
        while let Ok((worker, said)) = self.heard.try_recv() {
            self.hear(worker, said, now).map_err(|error| error.to_string())?;
        }
        self.give_up_late(now);
        while let Some(&(due, ticket)) = self.delayed.first().filter(|(due, _)| *due <= now) {
            self.delayed.remove(&(due, ticket));
            if self.flights.get(&ticket).is_some_and(|flight| flight.alone) {
                self.suspects.add(vec![ticket], false);
            } else {
                self.unsent.push_back(ticket);
            }
        }
        for slot in &mut self.slots {
            if slot.is_full_of_abandoned() && slot.in_flight == 0 {
                slot.empty();
            }
        }
        self.dispatch(now).map_err(|error| error.to_string())?;
        match &self.broken {
            Some(why) => Err(format!("function '{}': {why}", self.function.declaration.name)),
            None => Ok(std::mem::take(&mut self.answers)),
        }
    }

    /// When there may be answers without anybody calling `wake`.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        if !self.answers.is_empty() {
            return Some(Instant::now());
        }
        let waits = !self.unsent.is_empty() || self.suspects.wait();
        let starts = self.slots.iter().filter_map(|slot| slot.not_before.filter(|_| waits));
        let deadline = self.deadlines.front().map(|(deadline, _)| *deadline);
        deadline.into_iter().chain(self.delayed.first().map(|(due, _)| *due)).chain(starts).min()
    }

    fn hear(&mut self, worker: u64, said: Said, now: Instant) -> Result<(), ArrowError> {
        let is_it = |slot: &Slot| slot.running.as_ref().is_some_and(|(number, _)| *number == worker);
        // What a worker said that was given up does not count.
        let Some(index) = self.slots.iter().position(is_it) else { return Ok(()) };
        match said {
            Said::Results(ids, values) => self.results(index, ids, values, now),
            Said::Lost(ids, why) => {
                let lost = self.lost(index, &ids);
                self.suspect(index, lost, &why, Some(now));
                Ok(())
            }
            Said::Ended(why) => {
                let had = |(ticket, flight): (&u64, &Flight)| {
                    flight.sent.is_some_and(|(_, slot)| slot == index).then_some(*ticket)
                };
                let mut had: Vec<u64> = self.flights.iter().filter_map(had).collect();
                had.sort_unstable();
                let lost = self.lost(index, &had);
                self.slots[index].dies(now);
                if index + 1 == self.slots.len() {
                    // How often rows are tried alone has an end.
                    self.slots[index].not_before = None;
                }
                self.suspect(index, lost, &why, None);
                Ok(())
            }
        }
    }

    fn results(&mut self, index: usize, ids: Vec<u64>, values: ArrayRef, now: Instant) -> Result<(), ArrowError> {
        let in_flight = self.flights.len();
        let null_is_transient = self.function.settings.null_is_transient;
        let (mut waited_for, mut again, mut seconds) = (Vec::new(), Vec::new(), 0.0);
        for (row, id) in ids.iter().enumerate() {
            let here = self.flights.get(id).and_then(|flight| flight.sent).filter(|(_, slot)| *slot == index);
            let Some((sent, _)) = here else { continue };
            seconds += now.saturating_duration_since(sent).as_secs_f64();
            if null_is_transient && values.is_null(row) {
                again.push(*id);
                continue;
            }
            self.flights.remove(id);
            waited_for.push(u32::try_from(row).unwrap_or(u32::MAX));
        }
        let (given, answered, slot) = (waited_for.len(), waited_for.len() + again.len(), &mut self.slots[index]);
        slot.in_flight = slot.in_flight.saturating_sub(answered);
        slot.abandoned = slot.abandoned.saturating_sub(ids.len() - answered);
        (slot.deaths, slot.not_before) = (0, None);
        self.permits.give_back(given);
        if answered > 0 {
            let (mean, failed) = (seconds / answered as f64, again.len() as u64);
            self.limit.answered(now - self.began, answered as u64, mean, failed, in_flight);
        }
        self.suspects.answered(&again);
        for ticket in again {
            self.may_pass(ticket, "it gave NULL, which stands for an error that may pass".to_owned(), false, now);
        }
        if given == 0 {
            return Ok(());
        }
        let (ids, values) = if given == ids.len() {
            (ids, values)
        } else {
            let values = take(&values, &UInt32Array::from(waited_for.clone()), None)?;
            (waited_for.iter().map(|&row| ids[row as usize]).collect(), values)
        };
        self.suspects.answered(&ids);
        self.answers.push(Answer::Given(ids, values));
        Ok(())
    }

    /// A slot has lost rows; gives those of them that are waited for.
    fn lost(&mut self, index: usize, ids: &[u64]) -> Vec<u64> {
        let mut lost = Vec::new();
        for id in ids {
            if let Some(flight) = self.flights.get_mut(id)
                && flight.sent.take_if(|(_, slot)| *slot == index).is_some()
            {
                lost.push(*id);
            }
        }
        let slot = &mut self.slots[index];
        slot.in_flight = slot.in_flight.saturating_sub(lost.len());
        slot.abandoned = slot.abandoned.saturating_sub(ids.len() - lost.len());
        lost
    }

    /// Any of these rows may be why a worker died, or its library panicked; then it is said when.
    fn suspect(&mut self, index: usize, rows: Vec<u64>, why: &str, panicked: Option<Instant>) {
        let is_own = index + 1 == self.slots.len();
        if let (&[alone], Some(flight)) = (rows.as_slice(), rows.first().and_then(|row| self.flights.get_mut(row))) {
            if let Some(now) = panicked
                && self.function.settings.transient.iter().any(|text| why.contains(text))
            {
                self.suspects.answered(&[alone]);
                return self.may_pass(alone, why.to_owned(), true, now);
            }
            flight.deaths += 1;
            // Any other panic is the row's own. That a worker dies can depend on the machine.
            if panicked.is_some() || flight.deaths > suspects::RETRIES {
                self.suspects.answered(&[alone]);
                return self.fail(alone, why.to_owned());
            }
        }
        self.suspects.add(rows, is_own);
    }

    /// A row whose error may pass is tried again, later each time; when that was often enough, it is given up.
    fn may_pass(&mut self, ticket: u64, why: String, alone: bool, now: Instant) {
        let Settings { retries, back_off, .. } = &self.function.settings;
        let Some(flight) = self.flights.get_mut(&ticket) else { return };
        (flight.sent, flight.tries, flight.alone) = (None, flight.tries + 1, alone);
        if flight.tries <= *retries {
            let after = back_off.saturating_mul(1 << (flight.tries - 1).min(BACK_OFF_DOUBLED_MAX));
            self.delayed.insert((now + after, ticket));
            return;
        }
        let tries = flight.tries;
        self.fail(ticket, if tries > 1 { format!("{why} (tried {tries} times)") } else { why });
    }

    fn fail(&mut self, ticket: u64, why: String) {
        self.flights.remove(&ticket);
        self.permits.give_back(1);
        self.answers.push(Answer::Failed(ticket, why));
    }

    fn give_up_late(&mut self, now: Instant) {
        let timeout = self.function.options.timeout;
        while let Some(&(deadline, ticket)) = self.deadlines.front() {
            let sent = self.flights.get(&ticket).and_then(|flight| flight.sent);
            let Some((_, index)) = sent.filter(|(sent, _)| *sent + timeout == deadline) else {
                self.deadlines.pop_front(); // it is answered, or was sent again
                continue;
            };
            if deadline > now {
                return;
            }
            self.deadlines.pop_front();
            let in_flight = self.flights.len();
            self.slots[index].in_flight = self.slots[index].in_flight.saturating_sub(1);
            self.slots[index].abandoned += 1;
            self.limit.answered(now - self.began, 1, timeout.as_secs_f64(), 1, in_flight);
            self.suspects.answered(&[ticket]);
            self.may_pass(ticket, format!("it took longer than {} ms", timeout.as_millis()), false, now);
        }
    }

    /// Sends what is to be sent, as far as there are workers.
    fn dispatch(&mut self, now: Instant) -> Result<(), ArrowError> {
        let own = self.slots.len() - 1;
        if self.broken.is_none() && self.slots[own].can_take(now) && self.is_up(own, now, self.suspects.wait()) {
            let group = self.suspects.next();
            self.give(own, &group, now)?;
        }
        let mut shares: Vec<Vec<u64>> = vec![Vec::new(); own];
        while !self.unsent.is_empty() && self.broken.is_none() {
            let load = |index: &usize| self.slots[*index].in_flight + shares[*index].len();
            let free = (0..own).filter(|&index| self.slots[index].can_take(now)).min_by_key(load);
            let Some(index) = free else { break };
            if self.is_up(index, now, true) {
                shares[index].extend(self.unsent.pop_front());
            }
        }
        for (index, share) in shares.iter().enumerate() {
            self.give(index, share, now)?;
        }
        Ok(())
    }

    /// Whether there is a worker in a slot; starts one if it is needed.
    fn is_up(&mut self, index: usize, now: Instant, is_needed: bool) -> bool {
        if self.slots[index].running.is_some() || !is_needed {
            return self.slots[index].running.is_some();
        }
        self.workers += 1;
        let (number, heard_by, wake) = (self.workers, self.heard_by.clone(), Arc::clone(&self.wake));
        let hear = move |said| {
            // Nobody listens when the calls are over.
            let _ = heard_by.send((number, said));
            wake();
        };
        let AsyncFunction { declaration, settings, library, program, .. } = &*self.function;
        let program: Vec<&OsStr> = program.iter().map(OsString::as_os_str).collect();
        let slot = &mut self.slots[index];
        match Running::start(&program, library, declaration, settings, hear) {
            Ok(running) => slot.running = Some((number, running)),
            Err(why) => {
                slot.dies(now);
                if slot.deaths >= STARTS_MAX || why.starts_with("its library does not load") {
                    self.broken = Some(why);
                }
            }
        }
        self.slots[index].running.is_some()
    }

    /// Gives rows to a slot's worker.
    fn give(&mut self, index: usize, tickets: &[u64], now: Instant) -> Result<(), ArrowError> {
        let mut rest = tickets;
        while let Some(columns) = rest.first().and_then(|first| Some(Arc::clone(&self.flights.get(first)?.columns))) {
            // Rows that came together are sent together.
            let is_of =
                |ticket: &&u64| self.flights.get(ticket).is_some_and(|flight| Arc::ptr_eq(&flight.columns, &columns));
            let count = rest.iter().take_while(is_of).count();
            let (part, after) = rest.split_at(count);
            let rows: UInt32Array = part.iter().filter_map(|ticket| Some(self.flights.get(ticket)?.row)).collect();
            let columns: Vec<ArrayRef> =
                columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
            let slot = &mut self.slots[index];
            let Some((_, running)) = &mut slot.running else { break };
            slot.in_flight += part.len();
            running.send(part, &columns)?;
            for ticket in part {
                if let Some(flight) = self.flights.get_mut(ticket) {
                    flight.sent = Some((now, index));
                }
                self.deadlines.push_back((now + self.function.options.timeout, *ticket));
            }
            rest = after;
        }
        Ok(())
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.permits.give_back(self.flights.len() + self.reserved);
    }
}
