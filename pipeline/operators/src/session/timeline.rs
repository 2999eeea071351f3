//! A key's rows in order of time, and the sessions that they make.

use super::{Given, Span};
use std::collections::BTreeMap;

/// A row at its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) time: i64,
    pub(crate) row: Box<[u8]>,
}

impl Place {
    /// Before every row of a time.
    fn before(time: i64) -> Self {
        Self { time, row: Box::default() }
    }
}

/// Rows with their weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(BTreeMap<Place, i64>);

impl Timeline {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, i64)> {
        self.0.iter().map(|(place, &weight)| (place, weight))
    }

    /// Adds to the weight of a row; rows without weight are not kept.
    pub(crate) fn add(&mut self, place: Place, weight: i64) {
        let sum = self.0.get(&place).copied().unwrap_or(0) + weight;
        if sum == 0 {
            self.0.remove(&place);
        } else {
            self.0.insert(place, sum);
        }
    }

    /// The first session.
    pub(crate) fn first_session(&self, gap: i64) -> Option<Span> {
        let mut times = self.0.keys().map(|place| place.time);
        let start = times.next()?;
        let last = times.try_fold(start, |last, time| if time - last < gap { Ok(time) } else { Err(last) });
        let last = last.unwrap_or_else(|last| last);
        Some(Span { start, end: last.saturating_add(gap) })
    }

    /// Gives the rows of the first session, and forgets them.
    pub(crate) fn take_first(&mut self, session: Span, given: &mut Given) {
        let rest = self.0.split_off(&Place::before(session.end));
        for (place, weight) in std::mem::replace(&mut self.0, rest) {
            given.push(&place.row, Some(session), weight);
        }
    }

    /// Applies changes; gives each row whose session or weight they change, as it was and as it is.
    ///
    /// Only rows that are, with those that come and those that go, within gaps of a change can be concerned.
    pub(crate) fn change(&mut self, delta: &Timeline, gap: i64, given: &mut Given) {
        for (place, weight) in &delta.0 {
            // What goes stays for as long as sessions are compared, without weight.
            *self.0.entry(place.clone()).or_default() += weight;
        }
        let mut done = i64::MIN;
        for changed in delta.0.keys() {
            if changed.time < done {
                continue;
            }
            let reach = self.reach(changed.time, gap);
            done = reach.end;
            self.compare(reach, delta, gap, given);
        }
        for place in delta.0.keys() {
            if self.0.get(place) == Some(&0) {
                self.0.remove(place);
            }
        }
    }

    /// The session around a time that all rows would make, those without weight, too.
    fn reach(&self, time: i64, gap: i64) -> Span {
        let (mut start, mut last) = (time, time);
        for (place, _) in self.0.range(..Place::before(time)).rev() {
            if start - place.time >= gap {
                break;
            }
            start = place.time;
        }
        for (place, _) in self.0.range(Place::before(time)..) {
            if place.time - last >= gap {
                break;
            }
            last = place.time;
        }
        Span { start, end: last.saturating_add(gap) }
    }

    fn compare(&self, reach: Span, delta: &Timeline, gap: i64, given: &mut Given) {
        let rows: Vec<(&Place, i64, i64)> = self
            .0
            .range(Place::before(reach.start)..Place::before(reach.end))
            .map(|(place, &new)| (place, new - delta.0.get(place).copied().unwrap_or(0), new))
            .collect();
        let old = sessions(rows.iter().map(|(place, old, _)| (place.time, *old)), gap);
        let new = sessions(rows.iter().map(|(place, _, new)| (place.time, *new)), gap);
        for (((place, was, is), old), new) in rows.into_iter().zip(old).zip(new) {
            if was == is && old == new {
                continue;
            }
            if was != 0 {
                given.push(&place.row, old, -was);
            }
            if is != 0 {
                given.push(&place.row, new, is);
            }
        }
    }
}

/// The session of each row, in order of time; rows without weight are in none.
fn sessions(rows: impl Iterator<Item = (i64, i64)>, gap: i64) -> Vec<Option<Span>> {
    let mut sessions: Vec<Option<Span>> = Vec::new();
    let mut first = 0;
    let mut open: Option<Span> = None;
    let close = |sessions: &mut Vec<Option<Span>>, first: usize, open: Option<Span>| {
        sessions[first..].iter_mut().filter(|session| session.is_some()).for_each(|session| *session = open);
    };
    for (index, (time, weight)) in rows.enumerate() {
        if weight == 0 {
            sessions.push(None);
            continue;
        }
        open = match open {
            Some(span) if time < span.end => Some(Span { end: time.saturating_add(gap), ..span }),
            before => {
                close(&mut sessions, first, before);
                first = index;
                Some(Span { start: time, end: time.saturating_add(gap) })
            }
        };
        sessions.push(open);
    }
    close(&mut sessions, first, open);
    sessions
}
