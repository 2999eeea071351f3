//! Sources that say what they are told to, read into a log in memory.

use super::*;
use chalk_catalog::{Column, ColumnType, TopicId, TopicSchema};
use chalk_connect::{ConnectError, SourceHealth};
use chalk_event::CommitSeq;
use chalk_ingest::DoorOptions;
use chalk_log::{CommitLog, EventLog, LogOptions};
use chalk_store::memory::MemoryFiles;
use std::collections::VecDeque;

/// Gives what it has, then nothing; after `drain` its end.
#[derive(Default)]
struct Script {
    chunks: VecDeque<Chunk>,
    draining: bool,
}

impl Source for Script {
    fn poll(&mut self, _: Duration) -> Result<Polled, ConnectError> {
        Ok(match self.chunks.pop_front() {
            Some(chunk) => Polled::Chunk(chunk),
            None if self.draining => Polled::End,
            None => Polled::Nothing,
        })
    }

    fn drain(&mut self) -> Result<(), ConnectError> {
        self.draining = true;
        Ok(())
    }

    fn health(&self) -> SourceHealth {
        SourceHealth { gaps: 3, ..SourceHealth::default() }
    }
}

fn chunk(partition: u32, lines: &str, first: u64, position: u64) -> Chunk {
    Chunk { partition, bytes: lines.into(), first, records: lines.lines().count() as u64, position }
}

fn log() -> (Arc<Door>, TopicId) {
    let files = Arc::new(MemoryFiles::new());
    let log: Arc<dyn EventLog> =
        Arc::new(CommitLog::open_in(files, LogOptions::new(Arc::new(|| 0))).expect("a log in memory"));
    let column = Column { name: "n".to_owned(), column_type: ColumnType::Long, nullable: false };
    let avsc = TopicSchema::avsc_of_table("rows", &[column], false);
    let topic = log.ensure_topic("rows", &avsc, TopicSchema::NO_ENVELOPE).expect("a good schema").id;
    (Arc::new(Door::open(log, DoorOptions::new(Arc::new(|| 0))).expect("a door")), topic)
}

#[test]
fn rows_and_positions_are_in_one_commit() {
    let (door, topic) = log();
    let chunks = [
        chunk(0, "{\"n\":1}\n{\"n\":2}\n", 7, 9),
        chunk(2, "{\"n\":3}\n", 0, 1),
        chunk(0, "no row\n{\"n\":4}\n", 9, 11),
        chunk(1, "", 5, 5),
    ];
    let source = Box::new(Script { chunks: chunks.into(), draining: false });
    let partitions = Some(BTreeMap::from([(0, Place { position: 7, records: 7 })]));
    let (stats, wish) = (Arc::new(Stats::default()), Wish::default());
    wish.drain();
    let reader = Reader {
        source,
        table: "rows".to_owned(),
        partitions,
        lines: Lines::Rows(Rows::of(topic, 1)),
        door: Arc::clone(&door),
        stats: Arc::clone(&stats),
    };
    reader.run(&wish).expect("all of it is read");
    let log = door.log();
    let (commits, _) = log.read(CommitSeq(0), &[topic], 1 << 20).expect("a log");
    // Chunks that follow each other closely can be in one commit.
    let frames = commits.iter().flat_map(|commit| &commit.frames);
    let rows: Vec<usize> = frames.map(|frame| frame.rows.num_rows()).collect();
    assert_eq!(rows, [2, 1, 1]);
    let place = |position, records| Place { position, records };
    let expected = BTreeMap::from([(0, place(11, 11)), (1, place(5, 0)), (2, place(1, 1))]);
    assert_eq!(places(&log.journal(), "rows"), expected);
    assert_eq!(places(&log.journal(), "row"), BTreeMap::new());
    assert_eq!(stats.status().sources["rows"].gaps, 3);
}

#[test]
fn a_reader_stops_when_it_is_to() {
    let (door, topic) = log();
    let stats = Arc::new(Stats::default());
    let (table, source) = ("rows".to_owned(), Box::new(Script::default()));
    let reader = Reader { source, table, partitions: None, lines: Lines::Rows(Rows::of(topic, 1)), door, stats };
    let wish = Wish::default();
    wish.stop();
    wish.drain();
    reader.run(&wish).expect("it stops");
}
