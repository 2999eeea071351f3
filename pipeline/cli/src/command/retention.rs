//! `chalk retention`: how long the log and history keep rows.

use crate::Outcome;
use crate::archivist::needs;
use crate::command::topics::bytes_text;
use crate::command::{DataArgument, table, topic_named};
use crate::error::CliError;
use crate::keeping::{Keeping, Limits, OTHERS, parse_age, parse_bytes};
use crate::node::system_clock;
use chalk_event::IngestTime;
use chalk_log::EventLog;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Retention {
    /// Show how long rows are kept, and what holds segments back that could go.
    Show(Show),
    /// Say how long rows of a topic are kept: what is not limited is kept for ever. A running server follows within half a minute.
    Set(Set),
}

impl Retention {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self {
            Self::Show(show) => show.run(),
            Self::Set(set) => set.run(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    data: DataArgument,
}

/// `7d`, in the largest unit that says it exactly, weeks left aside.
fn age_text(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size)).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

impl Show {
    fn run(self) -> Result<Outcome, CliError> {
        let log = self.data.look()?;
        let keeping = Keeping::read(&self.data.data)?;
        let for_ever = || "for ever".to_owned();
        let row = |topic: &str, limits: &Limits| {
            let in_log = [limits.log_age_seconds.map(age_text), limits.log_bytes.map(bytes_text)];
            let in_log: Vec<String> = in_log.into_iter().flatten().collect();
            vec![
                topic.to_owned(),
                if in_log.is_empty() { for_ever() } else { in_log.join(" or ") },
                limits.history_age_seconds.map_or_else(for_ever, age_text),
            ]
        };
        let others = keeping.retention.get(OTHERS).copied().unwrap_or_default();
        let named = keeping.retention.iter().filter(|(topic, _)| *topic != OTHERS);
        let mut rows: Vec<Vec<String>> = named.map(|(topic, limits)| row(topic, limits)).collect();
        rows.push(row(OTHERS, &others));
        print!("{}", table(&["topic", "in the log", "in history"], &rows)?);
        if log.history().is_none() {
            println!("no history is kept: what the log lets go of is gone");
        }
        let now = IngestTime(system_clock()());
        if let Some(held_back) = log.held_back(&keeping.retention(), &needs(&self.data.data), now)? {
            println!("{held_back}");
        }
        Ok(Outcome::Done)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The topic, or '*' for all that are not named.
    topic: String,
    #[command(flatten)]
    data: DataArgument,
    /// Segments of the log can go when all rows in them are so old, such as 7d (s, m, h, d, w).
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    log_age: Option<u64>,
    /// Segments of the log can go when there are so many newer bytes of the topic, such as 10GiB.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    log_bytes: Option<u64>,
    /// History lets go of rows so old.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    history_age: Option<u64>,
}

impl Set {
    fn run(self) -> Result<Outcome, CliError> {
        let log = self.data.look()?;
        if self.topic != OTHERS {
            topic_named(&log.topics(), &self.topic)?;
        }
        let limits =
            Limits { log_age_seconds: self.log_age, log_bytes: self.log_bytes, history_age_seconds: self.history_age };
        let mut keeping = Keeping::read(&self.data.data)?;
        if limits == Limits::default() && self.topic == OTHERS {
            keeping.retention.remove(OTHERS);
        } else {
            keeping.retention.insert(self.topic, limits);
        }
        keeping.write(&self.data.data)?;
        Show { data: self.data }.run()
    }
}
