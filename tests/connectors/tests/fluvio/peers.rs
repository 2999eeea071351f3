//! Clusters as the suites see them.

use chalk_connect::fluvio::{
    Access, Begin, Compression, FluvioSink, FluvioSource, Lost, SinkSettings, SourceSettings, Timing, Tls,
};
use chalk_connect::{Place, Sink, Source};
use chalk_connector_tests::fluvio_peer::Cluster;
use chalk_connector_tests::sinks::SinkPeer;
use chalk_connector_tests::sources::{ServerPeer, SourcePeer, read_all};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const TOPIC: &str = "records";
/// So little is asked for at once that every fetch ends in the middle of a batch.
const FETCH_BYTES: i32 = 100_000;
/// Batches of the cluster have so many records.
const BATCH: usize = 40;

/// Answers come at once here, so that nobody waits for long.
pub(crate) fn timing() -> Timing {
    Timing {
        answer: Duration::from_secs(8),
        refresh: Duration::from_millis(100),
        retry_min: Duration::from_millis(5),
        retry_max: Duration::from_millis(100),
    }
}

/// How a table reads a topic.
pub(crate) fn source_settings(endpoint: &str, topic: &str) -> SourceSettings {
    SourceSettings {
        access: Access::Endpoint { endpoint: endpoint.to_owned(), tls: Tls::Disabled },
        topic: topic.to_owned(),
        begin: Begin::Earliest,
        lost: Lost::Stop,
        fetch_bytes: FETCH_BYTES,
        timing: timing(),
    }
}

/// How a table writes a topic.
pub(crate) fn sink_settings(endpoint: &str, topic: &str) -> SinkSettings {
    SinkSettings {
        access: Access::Endpoint { endpoint: endpoint.to_owned(), tls: Tls::Disabled },
        topic: topic.to_owned(),
        key_field: None,
        compression: Compression::None,
        batch_bytes: 1000,
        add_event_id: true,
        identity: "project/insert_into_records/records".to_owned(),
        timing: timing(),
    }
}

/// The rows of records that a sink wrote, each id once, without it.
pub(crate) fn rows_by_id(records: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let mut ids = BTreeSet::new();
    let mut rows = Vec::new();
    for record in records {
        let text = String::from_utf8(record).expect("text");
        let rest = text.strip_prefix("{\"event_id\":\"").expect("an id comes first");
        let (id, rest) = rest.split_once("\",").expect("an id has an end");
        if ids.insert(id.to_owned()) {
            rows.push(format!("{{{rest}"));
        }
    }
    rows
}

/// A cluster in this process.
pub(crate) struct Simulated {
    pub(crate) cluster: Cluster,
    /// How clients come to it.
    pub(crate) tls: Tls,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::start().expect("a port");
        cluster.create_topic(TOPIC, 2);
        Self { cluster, tls: Tls::Disabled }
    }
}

impl Simulated {
    pub(crate) fn access(&self) -> Access {
        Access::Endpoint { endpoint: self.cluster.endpoint().to_owned(), tls: self.tls.clone() }
    }
}

impl SourcePeer for Simulated {
    fn partitions(&self) -> u32 {
        self.cluster.partitions(TOPIC)
    }

    fn add(&mut self, partition: u32, records: &[Vec<u8>]) {
        // No batch may be larger than what is asked for.
        let large = records.iter().map(Vec::len).max().unwrap_or(0) * BATCH > FETCH_BYTES as usize / 2;
        self.cluster.add(TOPIC, partition, records, if large { 4 } else { BATCH });
    }

    fn open(&self, places: &BTreeMap<u32, Place>) -> Box<dyn Source> {
        let access = self.access();
        let settings = SourceSettings { access, fetch_bytes: 400_000, ..source_settings("", TOPIC) };
        Box::new(FluvioSource::open(settings, places).expect("the cluster is there"))
    }

    fn place_after(&self, _: &[Vec<u8>], count: usize) -> Place {
        Place { position: count as u64, records: count as u64 }
    }
}

impl ServerPeer for Simulated {
    fn restart(&mut self) {
        self.cluster.restart().expect("a port");
    }

    fn add_partition(&mut self) {
        self.cluster.add_partition(TOPIC);
    }

    fn hold(&mut self, held: bool) {
        self.cluster.hold(held);
    }

    fn sent_bytes(&self) -> u64 {
        self.cluster.sent_bytes()
    }

    fn fetch_bytes(&self) -> u64 {
        400_000
    }
}

impl SinkPeer for Simulated {
    fn open(&self) -> Box<dyn Sink> {
        // One partition: the suite looks at the order.
        self.cluster.create_topic_once("rows", 1);
        Box::new(FluvioSink::new(SinkSettings { access: self.access(), ..sink_settings("", "rows") }))
    }

    fn seen(&self) -> Vec<String> {
        rows_by_id(self.cluster.values("rows", 0))
    }
}

/// A cluster somewhere else, with topics for each test.
pub(crate) struct Real {
    pub(crate) endpoint: String,
    pub(crate) topic: String,
}

impl Real {
    pub(crate) fn new(endpoint: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let topic = format!("chalk-test-{}", now.as_nanos());
        let settings = source_settings(endpoint, &topic);
        chalk_connect::fluvio::ensure_topic(&settings.access, &topic, 3, Duration::from_secs(60)).expect("a topic");
        let rows = format!("{topic}-rows");
        chalk_connect::fluvio::ensure_topic(&settings.access, &rows, 1, Duration::from_secs(60)).expect("a topic");
        Self { endpoint: endpoint.to_owned(), topic }
    }
}

impl SourcePeer for Real {
    fn partitions(&self) -> u32 {
        3
    }

    fn add(&mut self, partition: u32, records: &[Vec<u8>]) {
        crate::bare::produce(&self.endpoint, &self.topic, partition, records);
    }

    fn open(&self, places: &BTreeMap<u32, Place>) -> Box<dyn Source> {
        let timing = Timing::default();
        let settings =
            SourceSettings { fetch_bytes: 2_000_000, timing, ..source_settings(&self.endpoint, &self.topic) };
        Box::new(FluvioSource::open(settings, places).expect("the cluster is there"))
    }

    fn place_after(&self, _: &[Vec<u8>], count: usize) -> Place {
        Place { position: count as u64, records: count as u64 }
    }
}

impl SinkPeer for Real {
    fn open(&self) -> Box<dyn Sink> {
        let rows = format!("{}-rows", self.topic);
        Box::new(FluvioSink::new(SinkSettings { timing: Timing::default(), ..sink_settings(&self.endpoint, &rows) }))
    }

    fn seen(&self) -> Vec<String> {
        let settings = source_settings(&self.endpoint, &format!("{}-rows", self.topic));
        let mut source = FluvioSource::open(settings, &BTreeMap::new()).expect("the cluster is there");
        rows_by_id(read_all(&mut source).records.remove(&0).unwrap_or_default())
    }
}
