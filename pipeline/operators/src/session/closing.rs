//! Sessions that are given once: when each ends, and which rows come too late for theirs.

use super::timeline::{Place, Timeline};
use super::{Given, has_passed};
use crate::interner::Interner;
use crate::state::{NotSavedState, StateReader, Unsaved, put_i64};
use crate::{GroupState, LateRow};
use chalk_event::{EventTime, Watermark, hash_key};
use chalk_graph::CloseSessions;
use std::collections::{BTreeMap, BTreeSet};

/// When sessions end.
pub(crate) struct Closing {
    // Configuration.
    close: CloseSessions,
    // State.
    /// When to look at a key, at the latest when its first session ends or the last one that was given is forgotten.
    due: BTreeSet<(i64, u32)>,
    /// By key id: what it stands under in `due`.
    due_at: BTreeMap<u32, i64>,
    /// By key id: the end of the last session that was given, as long as a row could be in it that is not late otherwise.
    given_until: BTreeMap<u32, i64>,
    unsaved: Unsaved,
}

impl Closing {
    pub(crate) fn new(close: CloseSessions) -> Self {
        Self {
            close,
            due: BTreeSet::new(),
            due_at: BTreeMap::new(),
            given_until: BTreeMap::new(),
            unsaved: Unsaved::default(),
        }
    }

    /// Whether a row comes in time; otherwise the end of the window that it is too late for.
    pub(crate) fn judge(&self, key: u32, time: i64, gap: i64, before: Watermark) -> Result<(), i64> {
        let end = time.saturating_add(gap);
        if has_passed(before, end.saturating_add(self.close.lateness)) {
            return Err(end);
        }
        match self.given_until.get(&key) {
            Some(&given) if time < given => Err(given),
            _ => Ok(()),
        }
    }

    pub(crate) fn late_row(&self, row: usize, event_time: EventTime, before: Watermark, end: i64) -> LateRow {
        LateRow {
            query: self.close.query.clone(),
            event_time,
            watermark: before.time().unwrap_or(event_time),
            window_end: EventTime(end),
            port: 0,
            row,
        }
    }

    /// Makes room for key ids below `keys`.
    pub(crate) fn reserve(&mut self, keys: usize) {
        self.unsaved.reserve(keys);
    }

    /// A row of a key has come in.
    pub(crate) fn came(&mut self, key: u32, time: i64, gap: i64) {
        self.unsaved.changed(key);
        // A session that goes on ends later: then there is nothing to do yet.
        let end = time.saturating_add(gap);
        let next = self.due_at.get(&key).map_or(end, |&at| at.min(end));
        self.schedule(key, Some(next));
    }

    /// Notes when something is to be done about a key next.
    fn schedule(&mut self, key: u32, next: Option<i64>) {
        if let Some(at) = self.due_at.remove(&key) {
            self.due.remove(&(at, key));
        }
        if let Some(next) = next {
            self.due.insert((next, key));
            self.due_at.insert(key, next);
        }
    }

    /// Gives back the id of a key of which nothing is known: its only row was late.
    pub(crate) fn forget_unused(&mut self, key: u32, timeline: &Timeline, ids: &mut Interner) {
        if timeline.is_empty() && !self.given_until.contains_key(&key) {
            ids.release(key);
        }
    }

    /// Gives the sessions that a watermark ends: in order of their ends; those of one end in the order of their keys' hashes, which is the same
    /// for any number of shards.
    pub(crate) fn due(
        &mut self,
        after: Watermark,
        gap: i64,
        timelines: &mut [Timeline],
        ids: &mut Interner,
        given: &mut Given,
    ) {
        let mut ended = Vec::new();
        while let Some(&(at, key)) = self.due.first()
            && has_passed(after, at.saturating_add(self.close.lateness))
        {
            self.unsaved.changed(key);
            // A row that is not late by itself is less than a gap before now.
            let is_forgotten =
                |&end: &i64| has_passed(after, end.saturating_add(gap).saturating_add(self.close.lateness));
            if self.given_until.get(&key).is_some_and(is_forgotten) {
                self.given_until.remove(&key);
            }
            let timeline = &mut timelines[key as usize];
            let mut next = timeline.first_session(gap);
            if let Some(session) =
                next.filter(|session| has_passed(after, session.end.saturating_add(self.close.lateness)))
            {
                let mut rows = Given::default();
                timeline.take_first(session, &mut rows);
                self.given_until.insert(key, session.end);
                ended.push((session.end, hash_key(ids.key(key)), rows));
                next = timeline.first_session(gap);
            }
            let forgotten = self.given_until.get(&key).map(|end| end.saturating_add(gap));
            let next = next.map(|session| session.end).or(forgotten);
            self.schedule(key, next);
            if next.is_none() {
                self.unsaved.gone(key, ids, false);
                ids.release(key);
            }
        }
        ended.sort_by_key(|(end, hash, _)| (*end, *hash));
        for (_, _, rows) in ended {
            given.rows.extend(rows.rows);
            given.spans.extend(rows.spans);
            given.weights.extend(rows.weights);
        }
    }

    /// The keys that have changed since the last save, all of them the first time.
    pub(crate) fn save(&mut self, timelines: &[Timeline], ids: &Interner) -> Vec<GroupState> {
        self.unsaved.take(ids).groups(|key| {
            let state = Some(self.state_of(key, &timelines[key as usize]));
            GroupState { key: ids.key(key).into(), state }
        })
    }

    /// All that is there now is saved, or has been.
    pub(crate) fn saved(&mut self, keys: usize) {
        self.unsaved.begin(keys);
    }

    /// The end of the last session that was given, if it is known; then each row, its time and weight.
    fn state_of(&self, key: u32, timeline: &Timeline) -> Vec<u8> {
        let mut state = Vec::new();
        let given = self.given_until.get(&key);
        put_i64(&mut state, i64::from(given.is_some()));
        given.iter().for_each(|&&end| put_i64(&mut state, end));
        put_i64(&mut state, timeline.len() as i64);
        for (place, weight) in timeline.iter() {
            put_i64(&mut state, place.time);
            put_i64(&mut state, weight);
            put_i64(&mut state, place.row.len() as i64);
            state.extend_from_slice(&place.row);
        }
        state
    }

    /// Takes back what was saved of a key.
    pub(crate) fn put_back(
        &mut self,
        key: u32,
        saved: &[u8],
        timeline: &mut Timeline,
        gap: i64,
    ) -> Result<(), NotSavedState> {
        let mut saved = StateReader(saved);
        if saved.i64()? != 0 {
            self.given_until.insert(key, saved.i64()?);
        }
        for _ in 0..saved.len()? {
            let (time, weight, len) = (saved.i64()?, saved.i64()?, saved.len()?);
            timeline.add(Place { time, row: saved.bytes(len)?.into() }, weight);
        }
        saved.end()?;
        let forgotten = self.given_until.get(&key).map(|end| end.saturating_add(gap));
        self.schedule(key, timeline.first_session(gap).map(|session| session.end).or(forgotten));
        Ok(())
    }
}
