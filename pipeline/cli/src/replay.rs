//! Points in a log: what users say, and the commit that it is.
//!
//! A replay ends after a whole commit, since commits are atomic, and the past is asked as of one:
//!
//! | `--until`, `--as-of` | the last commit is |
//! |---|---|
//! | an epoch | the last input of the latest known epoch that is not later |
//! | an RFC 3339 time | the last that was made then or before |
//! | `topic:partition:offset` | the one that has the event |
//! | – | the log's last |

use crate::client::status_of;
use crate::command::DataArgument;
use crate::error::CliError;
use crate::node::PIPELINE;
use chalk_catalog::{ControlEvent, SystemTopic};
use chalk_codec::parse_timestamp;
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use chalk_log::{CommitLog, EventLog, read_holder};
use chalk_runtime::Checkpoints;
use chalk_store::LocalFiles;
use std::collections::BTreeMap;

/// A point in the log as users say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Epoch(u64),
    Time(IngestTime),
    Event { topic: String, partition: u16, offset: u64 },
}

impl Until {
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        if let Ok(epoch) = text.parse() {
            return Ok(Self::Epoch(epoch));
        }
        if let Some(time) = parse_timestamp(text) {
            return Ok(Self::Time(IngestTime(time)));
        }
        let mut parts = text.rsplitn(3, ':');
        let (offset, partition, topic) = (parts.next(), parts.next(), parts.next());
        let offset = offset.and_then(|offset| offset.parse().ok());
        let partition = partition.and_then(|partition| partition.parse().ok());
        match (topic, partition, offset) {
            // A time without its zone looks like an event of the topic '2025-09-01T08'.
            (Some(topic), Some(partition), Some(offset))
                if !topic.starts_with(|first: char| first.is_ascii_digit()) =>
            {
                Ok(Self::Event { topic: topic.to_owned(), partition, offset })
            }
            _ => Err(CliError::other(format!(
                "'{text}' is no point in a log\n  hint: it is an epoch such as 42, an RFC 3339 time such as \
                 2025-09-01T08:00:00Z, or topic:partition:offset such as submissions:0:99"
            ))),
        }
    }
}

/// A point in a log.
#[derive(Debug)]
pub(crate) struct Point {
    /// The last commit before it.
    pub(crate) commit: CommitSeq,
    /// When that was made, as far as it is known.
    pub(crate) time: Option<IngestTime>,
    /// What users said, and how it was understood; begins with a comma.
    pub(crate) why: String,
}

impl Point {
    /// Looks at the log of a data directory, and finds the point in it.
    pub(crate) fn find(data: &DataArgument, until: Option<Until>) -> Result<(CommitLog, Self), CliError> {
        // The server is asked before one looks at the log, so that the log has what it spoke of.
        let shown = match &until {
            Some(Until::Epoch(_)) => read_holder(&data.data).and_then(|holder| holder.http),
            _ => None,
        };
        let shown = shown.map(|address| status_of(&address)).transpose()?;
        let shown = shown.and_then(|status| Some((status["epoch"].as_u64()?, CommitSeq(status["upto"].as_u64()?))));
        let log = data.look()?;
        let end = *log.durable().borrow();
        let (commit, why) = match until {
            None => (end, ", the last of the log".to_owned()),
            Some(Until::Epoch(epoch)) => {
                let mut known = recorded(&log)?;
                known.extend(newer(checkpoint(data), &known, end));
                known.extend(newer(shown, &known, end));
                of_epoch(epoch, &known)?
            }
            Some(Until::Time(time)) => match log.commit_at(IngestTime(time.0.saturating_add(1)))? {
                Some(later) => (CommitSeq(later.0 - 1), String::new()),
                None => (end, ", the last of the log".to_owned()),
            },
            Some(Until::Event { topic, partition, offset }) => {
                (of_event(&log, &topic, partition, offset)?, format!(", which has {topic}:{partition}:{offset}"))
            }
        };
        let time = time_of(&log, commit)?;
        Ok((log, Self { commit, time, why }))
    }
}

/// The epochs that the log knows, and their last commits: those that led to events.
fn recorded(log: &CommitLog) -> Result<BTreeMap<u64, CommitSeq>, CliError> {
    let events = log.control_events(SystemTopic::Journal.id())?.into_iter();
    let epochs = events.filter_map(|event| match event {
        ControlEvent::EpochCommitted { pipeline, epoch, upto, .. } if pipeline == PIPELINE => Some((epoch.0, upto)),
        _ => None,
    });
    Ok(epochs.collect())
}

/// The epoch of the last checkpoint. What is wrong with a checkpoint is not a replay's business.
fn checkpoint(data: &DataArgument) -> Option<(u64, CommitSeq)> {
    let storage = LocalFiles::existing(&data.data.join("checkpoints")).ok()?;
    let (epoch, upto) = Checkpoints::last(&storage).ok()??;
    Some((epoch.0, upto))
}

/// An epoch that nothing in the log tells of, if it is later than all that are known: epochs of a run that is catching up, or
/// that had another log, are not.
fn newer(
    epoch: Option<(u64, CommitSeq)>,
    known: &BTreeMap<u64, CommitSeq>,
    end: CommitSeq,
) -> Option<(u64, CommitSeq)> {
    let last = known.last_key_value();
    epoch.filter(|&(epoch, upto)| upto <= end && last.is_none_or(|(&last, &before)| epoch > last && upto >= before))
}

fn of_epoch(epoch: u64, known: &BTreeMap<u64, CommitSeq>) -> Result<(CommitSeq, String), CliError> {
    let (Some((first, _)), Some((last, _))) = (known.first_key_value(), known.last_key_value()) else {
        return Err(CliError::other(
            "the log knows no epoch yet: nothing that was appended led to an event\n  hint: name a time, or topic:partition:offset",
        ));
    };
    if epoch > *last {
        return Err(CliError::other(format!(
            "epoch {epoch} is not there yet: the last one known is {last}\n  hint: name that, or leave --until out for all of the log"
        )));
    }
    match known.range(..=epoch).next_back() {
        Some((&found, &commit)) if found == epoch => Ok((commit, format!(", epoch {epoch}"))),
        Some((&found, &commit)) => {
            Ok((commit, format!(", epoch {found}: the last known before {epoch}, which led to no event")))
        }
        None => Err(CliError::other(format!(
            "the log does not tell where epoch {epoch} ended: the first that led to an event is {first}\n  hint: name that, a time, or \
             topic:partition:offset"
        ))),
    }
}

fn of_event(log: &CommitLog, name: &str, partition: u16, offset: u64) -> Result<CommitSeq, CliError> {
    let topics = log.topics();
    let topic = crate::command::topic_named(&topics, name)?;
    if partition >= topic.partitions {
        return Err(CliError::other(format!(
            "topic '{name}' has no partition {partition}: its last one is {}",
            topic.partitions - 1
        )));
    }
    let found = log.commit_of(topic.id, PartitionId(partition), Offset(offset))?;
    found.ok_or_else(|| {
        let tail = log.tail(topic.id, PartitionId(partition));
        CliError::other(format!("'{name}:{partition}' has no offset {offset} yet: the next one is {tail}"))
    })
}

/// When a commit was made, if that can be found among the topics' commits.
fn time_of(log: &CommitLog, commit: CommitSeq) -> Result<Option<IngestTime>, CliError> {
    let Some(before) = commit.0.checked_sub(1) else { return Ok(None) };
    let topics: Vec<_> = log.topics().iter().map(|topic| topic.id).collect();
    let (commits, _) = log.read(CommitSeq(before), &topics, 1)?;
    Ok(commits.first().filter(|found| found.seq == commit).map(|found| found.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_understood() {
        let event = |topic: &str, partition, offset| Until::Event { topic: topic.to_owned(), partition, offset };
        for (text, point) in [
            ("42", Until::Epoch(42)),
            ("1970-01-01T00:00:01Z", Until::Time(IngestTime(1_000_000_000))),
            ("1970-01-01T00:00:01", Until::Time(IngestTime(1_000_000_000))),
            ("1970-01-01T01:00:01+01:00", Until::Time(IngestTime(1_000_000_000))),
            ("marks:3:99", event("marks", 3, 99)),
        ] {
            assert_eq!(Until::parse(text).ok(), Some(point), "{text}");
        }
        for text in ["", "-1", "yesterday", "marks:3", "marks:x:1", "2025-09-01"] {
            let error = Until::parse(text).expect_err(text).to_string();
            assert!(error.contains("is no point in a log\n  hint: it is an epoch"), "{error}");
        }
    }

    #[test]
    fn an_epoch_is_the_last_known_one_that_is_not_later() {
        let known = BTreeMap::from([(3, CommitSeq(10)), (5, CommitSeq(20))]);
        let told = |epoch| match of_epoch(epoch, &known) {
            Ok((commit, why)) => format!("{commit}{why}"),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        assert_eq!(told(3), "10, epoch 3");
        assert_eq!(told(4), "10, epoch 3: the last known before 4, which led to no event");
        assert_eq!(told(5), "20, epoch 5");
        assert_eq!(told(6), "epoch 6 is not there yet: the last one known is 5");
        assert_eq!(told(2), "the log does not tell where epoch 2 ended: the first that led to an event is 3");
    }

    #[test]
    fn an_epoch_of_a_run_that_catches_up_is_not_known() {
        let known = BTreeMap::from([(5, CommitSeq(20))]);
        let is_known = |epoch, upto| newer(Some((epoch, CommitSeq(upto))), &known, CommitSeq(30)).is_some();
        assert!(is_known(6, 25));
        assert!(!is_known(6, 12), "it is still reading what an earlier run had read");
        assert!(!is_known(6, 31), "the log does not have it");
    }
}
