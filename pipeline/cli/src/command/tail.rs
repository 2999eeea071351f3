//! `chalk tail TOPIC`.

use crate::Outcome;
use crate::command::{DataArgument, topic_named};
use crate::error::CliError;
use arrow::array::RecordBatch;
use chalk_catalog::{ColumnType, TopicDef, TopicSchema};
use chalk_codec::{parse_timestamp, write_json_row};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId, Provenance};
use chalk_log::{CommitLog, EventLog, Frame};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// The topic; chalk topics lists them.
    topic: String,
    #[command(flatten)]
    data: DataArgument,
    /// Where to begin: earliest, latest, an offset (of each partition) or the RFC 3339 time at which the log took the rows [default:
    /// at the newest rows].
    #[arg(long, value_name = "WHERE")]
    from: Option<String>,
    /// How many rows [default: 10; all with --from].
    #[arg(short = 'n', long, value_name = "ROWS")]
    rows: Option<usize>,
    /// How they are shown: json, an object a line.
    #[arg(short, long, default_value = "json", value_parser = ["json"])]
    format: String,
    /// Go on with rows as they come, until Ctrl-C or until there are ROWS of them.
    #[arg(long)]
    follow: bool,
}

/// So many of the newest rows are shown.
const ROWS_DEFAULT: usize = 10;
/// About how many bytes are read at once.
const READ_BYTES: usize = 4 << 20;
/// How often one looks for new rows.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// So many rows before the end.
    Newest(usize),
    Earliest,
    Latest,
    Offset(u64),
    Time(i64),
}

impl Begin {
    fn parse(text: &str) -> Result<Self, CliError> {
        let time = || parse_timestamp(text).map(Self::Time);
        let offset = || text.parse().ok().map(Self::Offset);
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => offset().or_else(time).ok_or_else(|| {
                CliError::other(format!(
                    "'{text}' is no place in a topic\n  hint: --from takes earliest, latest, an offset such as 100, or an RFC 3339 \
                     time such as 2025-09-01T08:00:00Z"
                ))
            }),
        }
    }
}

impl Tail {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let from = match &self.from {
            Some(text) => Begin::parse(text)?,
            None => Begin::Newest(self.rows.unwrap_or(ROWS_DEFAULT)),
        };
        let mut log = self.data.look()?;
        let topic = topic_named(&log.topics(), &self.topic)?.clone();
        // The newest rows are as many as there are, and those that follow come on top.
        let limit = if self.from.is_some() { self.rows } else { None };
        let mut out = Out { out: std::io::stdout().lock(), left: limit.unwrap_or(usize::MAX), text: String::new() };
        let mut after = out.begin(&log, &topic, from, self.follow)?;
        loop {
            after = out.from(&log, &topic, after, from)?;
            if !self.follow || out.is_done() {
                return Ok(Outcome::Done);
            }
            let size = log.size().bytes;
            while log_bytes(&self.data)? <= size {
                std::thread::sleep(LOOK_EVERY);
            }
            // A commit that is just being written is not there yet; whoever writes long ones would have this read on end.
            let began = Instant::now();
            log = self.data.look()?;
            if *log.durable().borrow() <= after {
                std::thread::sleep(LOOK_EVERY.max(began.elapsed()));
            }
        }
    }
}

/// What the segments take on disk now.
fn log_bytes(data: &DataArgument) -> Result<u64, CliError> {
    let directory = data.data.join("log");
    let failed = |error: std::io::Error| CliError::other(format!("cannot read {}: {error}", directory.display()));
    let entries = std::fs::read_dir(&directory).map_err(failed)?;
    entries.map(|entry| Ok(entry.and_then(|entry| entry.metadata()).map_err(failed)?.len())).sum()
}

/// Where rows go.
struct Out<W> {
    out: W,
    /// So many may still come.
    left: usize,
    text: String,
}

impl<W: Write> Out<W> {
    fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Finds the commit after which to begin; writes the newest rows, if those are asked for.
    fn begin(&mut self, log: &CommitLog, topic: &TopicDef, from: Begin, follow: bool) -> Result<CommitSeq, CliError> {
        let end = *log.durable().borrow();
        let before = |commit: Option<CommitSeq>| commit.map_or(end, |commit| CommitSeq(commit.0 - 1));
        Ok(match from {
            Begin::Earliest => log.let_go(&[topic.id]),
            Begin::Latest => end,
            Begin::Newest(rows) => {
                self.newest(log, topic, rows)?;
                end
            }
            Begin::Time(time) => before(log.commit_at(IngestTime(time))?),
            Begin::Offset(offset) => {
                let tails: Vec<u64> = partitions(topic).map(|partition| log.tail(topic.id, partition).0).collect();
                if !follow && tails.iter().all(|&tail| offset > tail) {
                    let greatest = tails.iter().max().copied().unwrap_or(0);
                    return Err(CliError::other(format!(
                        "'{}' has no offset {offset} yet: its longest partition ends before {greatest}\n  hint: --follow waits for it",
                        topic.name()
                    )));
                }
                let commits = partitions(topic).map(|partition| log.commit_of(topic.id, partition, Offset(offset)));
                before(commits.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
            }
        })
    }

    /// Writes all rows of commits after `after`; gives the last commit looked at.
    fn from(
        &mut self,
        log: &CommitLog,
        topic: &TopicDef,
        mut after: CommitSeq,
        from: Begin,
    ) -> Result<CommitSeq, CliError> {
        let first = if let Begin::Offset(offset) = from { offset } else { 0 };
        let end = *log.durable().borrow();
        // The schema may have grown.
        let topics = log.topics();
        let topic = topics.by_id(topic.id).unwrap_or(topic);
        while after < end && !self.is_done() {
            let (commits, looked_at) = log.read(after, &[topic.id], READ_BYTES)?;
            for commit in &commits {
                for frame in &commit.frames {
                    self.frame(topic, commit.seq, frame, first)?;
                }
            }
            after = looked_at;
        }
        self.flush()?;
        Ok(after)
    }

    fn newest(&mut self, log: &CommitLog, topic: &TopicDef, rows: usize) -> Result<(), CliError> {
        let mut frames = Vec::new();
        for partition in partitions(topic) {
            let from = Offset(log.tail(topic.id, partition).0.saturating_sub(rows as u64));
            let read = log.read_partition(topic.id, partition, from, usize::MAX)?;
            frames.extend(read.into_iter().map(|(commit, frame)| (commit, from, frame)));
        }
        frames.sort_by_key(|(commit, _, frame)| (*commit, frame.partition, frame.base_offset));
        let count = |(_, from, frame): &(CommitSeq, Offset, Frame)| {
            let before = from.0.saturating_sub(frame.base_offset.0) as usize;
            frame.rows.num_rows().saturating_sub(before)
        };
        let mut surplus = frames.iter().map(count).sum::<usize>().saturating_sub(rows);
        for found in &frames {
            let (commit, from, frame) = found;
            let skipped = surplus.min(count(found));
            surplus -= skipped;
            self.frame(topic, *commit, frame, from.0.max(frame.base_offset.0) + skipped as u64)?;
        }
        self.flush()
    }

    /// Writes the rows of a frame from an offset on.
    fn frame(&mut self, topic: &TopicDef, commit: CommitSeq, frame: &Frame, first: u64) -> Result<(), CliError> {
        let failed = |error: arrow::error::ArrowError| CliError::other(error.to_string());
        let rows = shown(&frame.rows).map_err(failed)?;
        let is_json = |name: &str| {
            let column = topic.schema.column_index(name).map(|index| &topic.schema.columns[index].column_type);
            name == TopicSchema::REST || matches!(column, Some(ColumnType::Json(_)))
        };
        let skipped = first.saturating_sub(frame.base_offset.0).min(rows.num_rows() as u64) as usize;
        for row in skipped..rows.num_rows() {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            write_json_row(&mut self.text, &rows, row, &is_json).map_err(failed)?;
            // Behind the last column.
            self.text.pop();
            let places = [
                (Provenance::Partition, u64::from(frame.partition.0)),
                (Provenance::Offset, frame.base_offset.0 + row as u64),
                (Provenance::CommitSeq, commit.0),
            ];
            for (kind, number) in places {
                self.text.push_str(&format!(",\"{}\":{number}", kind.column()));
            }
            self.text.push_str("}\n");
        }
        if self.text.len() > READ_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), CliError> {
        let written = self.out.write_all(self.text.as_bytes()).and_then(|()| self.out.flush());
        self.text.clear();
        match written {
            // Whoever reads has seen enough, as with `| head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.left = 0;
                Ok(())
            }
            other => other.map_err(|error| CliError::other(format!("cannot write: {error}"))),
        }
    }
}

fn partitions(topic: &TopicDef) -> impl Iterator<Item = PartitionId> {
    (0..topic.partitions).map(PartitionId)
}

/// The columns that are for others.
fn shown(rows: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let fields = rows.schema_ref().fields().iter().enumerate();
    let columns = fields.filter(|(_, field)| field.name() != TopicSchema::CONTENT).map(|(index, _)| index);
    rows.project(&columns.collect::<Vec<_>>())
}
