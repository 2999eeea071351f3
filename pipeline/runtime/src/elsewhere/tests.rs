//! A topic in memory, into which others write as well.

use super::*;
use crate::reading::{Lines, Reader, Wish, places};
use crate::stats::Stats;
use chalk_connect::{Chunk, ConnectError, Polled, SourceHealth};
use chalk_ingest::DoorOptions;
use chalk_log::{CommitLog, EventLog, LogOptions};
use chalk_store::memory::MemoryFiles;
use std::collections::BTreeMap;

const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","fields":[
    {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"event_type","type":"string"},
    {"name":"tenant","type":"string"},
    {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
const BOOKS: &str = r#"[{"type":"record","name":"BookLent","event_type":"book_lent","key":["n"],"idempotency_key":["n"],
    "fields":[{"name":"n","type":"long"}]}]"#;

/// 2026-03-01T08:00:00Z in nanoseconds since 1970.
const NOW: i64 = 1_772_352_000_000_000_000;

/// Its partitions: one a tenant's first letter, a to d.
type Topic = Arc<Mutex<BTreeMap<u32, Vec<Vec<u8>>>>>;

struct Reads {
    topic: Topic,
    next: BTreeMap<u32, u64>,
}

impl Source for Reads {
    fn poll(&mut self, wait: Duration) -> Result<Polled, ConnectError> {
        for (&partition, events) in &*self.topic.lock().expect("no panic") {
            let next = self.next.entry(partition).or_default();
            let new = &events[usize::try_from(*next).expect("few")..];
            if !new.is_empty() {
                let bytes = new.iter().flat_map(|event| [event, &b"\n"[..]].concat()).collect();
                let (first, records) = (*next, new.len() as u64);
                *next += records;
                return Ok(Polled::Chunk(Chunk { partition, bytes, first, records, position: *next }));
            }
        }
        std::thread::sleep(wait.min(Duration::from_millis(1)));
        Ok(Polled::Nothing)
    }

    fn drain(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }

    fn health(&self) -> SourceHealth {
        SourceHealth::default()
    }
}

struct Writes {
    topic: Topic,
    broken: bool,
}

impl Publish for Writes {
    fn publish(&mut self, events: &[Event<'_>]) -> Result<BTreeMap<u32, u64>, ConnectError> {
        if std::mem::take(&mut self.broken) {
            return Err(ConnectError::State("it is broken".to_owned()));
        }
        let mut reached = BTreeMap::new();
        let mut topic = self.topic.lock().expect("no panic");
        for event in events {
            let partition = event.key.and_then(|key| key.bytes().next()).map_or(0, |letter| u32::from(letter - b'a'));
            let events = topic.entry(partition).or_default();
            events.push(event.text.to_vec());
            reached.insert(partition, events.len() as u64);
        }
        Ok(reached)
    }

    fn event_bytes_max(&self) -> usize {
        1000
    }
}

struct Fixture {
    topic: Topic,
    door: Arc<Door>,
    through: Option<Through>,
    wish: Arc<Wish>,
    reading: Option<JoinHandle<()>>,
}

impl Fixture {
    fn new(files: &Arc<MemoryFiles>, topic: &Topic, broken: bool) -> Self {
        let files = Arc::clone(files);
        let log = CommitLog::open_in(files, LogOptions::new(Arc::new(|| 0))).expect("a log in memory");
        let log: Arc<dyn EventLog> = Arc::new(log);
        log.ensure_topic("books", BOOKS, ENVELOPE).expect("a good schema");
        let door = Arc::new(Door::open(log, DoorOptions::new(Arc::new(|| NOW))).expect("a door"));
        let read = places(&door.log().journal(), "_log/books");
        let reached = Arc::new(Reached::new(&read));
        let next = read.iter().map(|(&partition, place)| (partition, place.position)).collect();
        let reader = Reader {
            source: Box::new(Reads { topic: Arc::clone(topic), next }),
            table: "_log/books".to_owned(),
            partitions: Some(read),
            lines: Lines::Events(Arc::clone(&reached)),
            door: Arc::clone(&door),
            stats: Arc::new(Stats::default()),
        };
        let wish = Arc::new(Wish::default());
        let told = Arc::clone(&wish);
        let reading = Some(std::thread::spawn(move || reader.run(&told).expect("it reads")));
        let publish = Box::new(Writes { topic: Arc::clone(topic), broken });
        let through = Some(Through::start(publish, Arc::clone(&door), reached).expect("a thread"));
        Self { topic: Arc::clone(topic), door, through, wish, reading }
    }

    fn submit(&self, text: &str) -> Result<Receipt, DoorError> {
        self.through.as_ref().expect("it is there until it is dropped").submit("a test", text.as_bytes())?.wait()
    }

    fn rows(&self) -> u64 {
        let topics = self.door.log().topics();
        let books = topics.by_name("books").expect("the topic");
        (0..books.partitions).map(|of| self.door.log().tail(books.id, chalk_event::PartitionId(of)).0).sum()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.through.take());
        self.wish.stop();
        if let Some(reading) = self.reading.take() {
            reading.join().expect("it reads");
        }
    }
}

fn book(tenant: &str, n: u64) -> String {
    let at = "2026-03-01T08:00:00Z";
    format!("{{\"event_type\":\"book_lent\",\"tenant\":\"{tenant}\",\"n\":{n},\"occurred_at\":\"{at}\"}}\n")
}

#[test]
fn events_are_acknowledged_once_they_have_come_back() {
    let (files, topic) = (Arc::new(MemoryFiles::new()), Topic::default());
    let fixture = Fixture::new(&files, &topic, false);
    let text = [book("a", 1), book("b", 1), "no event\n".to_owned(), book("a", 2), book("a", 1)].concat();
    let receipt = fixture.submit(&text).expect("it is taken");
    assert_eq!((receipt.accepted_total(), receipt.duplicates), (3, 1));
    assert_eq!(receipt.refused.iter().map(|refused| refused.line).collect::<Vec<_>>(), [3]);
    assert_eq!(fixture.rows(), 3, "in the log by the time of the receipt");
    assert!(receipt.commit <= *fixture.door.log().durable().borrow());
    let sizes = |topic: &Topic| topic.lock().expect("no panic").values().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&topic), [2, 1], "refused events and duplicates go nowhere");
    let receipt = fixture.submit(&book("b", 1)).expect("it is taken");
    assert_eq!((receipt.accepted_total(), receipt.duplicates), (0, 1));
    let large = book("a", 3).replace("\"n\"", &format!("\"note\":\"{}\",\"n\"", "x".repeat(1000)));
    let receipt = fixture.submit(&large).expect("it is taken");
    assert_eq!(receipt.refused[0].bad.reason.code(), "too_large");
    assert_eq!(sizes(&topic), [2, 1]);
}

#[test]
fn what_others_write_is_read_and_what_was_read_is_not_read_again() {
    let (files, topic) = (Arc::new(MemoryFiles::new()), Topic::default());
    {
        let fixture = Fixture::new(&files, &topic, false);
        fixture.topic.lock().expect("no panic").entry(2).or_default().push(book("c", 1).trim().into());
        assert_eq!(fixture.submit(&book("a", 1)).expect("it is taken").accepted_total(), 1);
    }
    topic.lock().expect("no panic").entry(2).or_default().push(book("c", 2).trim().into());
    let fixture = Fixture::new(&files, &topic, false);
    // Partition 2 is read before what this brings is acknowledged: both are in one topic, and one reader takes them in turn.
    while fixture.rows() < 3 {
        std::thread::yield_now();
    }
    assert_eq!(fixture.submit(&book("a", 2)).expect("it is taken").accepted_total(), 1);
    assert_eq!(fixture.rows(), 4);
    let read = places(&fixture.door.log().journal(), "_log/books");
    assert_eq!(
        read.iter().map(|(&partition, place)| (partition, place.position)).collect::<Vec<_>>(),
        [(0, 2), (2, 2)]
    );
}

#[test]
fn what_the_topic_does_not_take_is_told() {
    let (files, topic) = (Arc::new(MemoryFiles::new()), Topic::default());
    let fixture = Fixture::new(&files, &topic, true);
    let error = fixture.submit(&book("a", 1)).expect_err("it is broken").to_string();
    assert!(error.ends_with("it is broken"), "{error}");
    assert_eq!(fixture.submit(&book("a", 1)).expect("it works again").accepted_total(), 1);
}
