//! Records that the client leaves out, and records that are gone.

use crate::bare;
use crate::peers::{Real, Simulated, TOPIC, source_settings};
use chalk_connect::fluvio::{FluvioSource, Lost, SourceSettings};
use chalk_connect::{ConnectError, Place, Polled, Source};
use chalk_connector_tests::sources::{SourcePeer, read_all, read_records, records};
use std::collections::BTreeMap;
use std::time::Duration;

fn open(settings: SourceSettings, places: &BTreeMap<u32, Place>) -> FluvioSource {
    FluvioSource::open(settings, places).expect("the cluster is there")
}

/// Polls until the source fails.
fn failure(source: &mut dyn Source) -> ConnectError {
    for _ in 0..1000 {
        if let Err(error) = source.poll(Duration::from_millis(20)) {
            return error;
        }
    }
    panic!("the source goes on: {:?}", source.health());
}

#[test]
fn the_bare_client_leaves_records_out_and_the_source_does_not() {
    let mut peer = Simulated::new();
    let added = records(0, 0..5000);
    peer.add(0, &added);
    let settings = source_settings(peer.cluster.endpoint(), TOPIC);
    // This is what the guard is there for. When it fails, the client has been mended.
    let bare = bare::consume(peer.cluster.endpoint(), TOPIC, 0, settings.fetch_bytes, 4999);
    assert!(bare < 5000, "the peer cuts batches, but all records have come");
    let mut source = open(settings, &BTreeMap::new());
    let read = read_all(&mut source);
    assert_eq!(read.records[&0], added);
    assert!(source.health().gaps > 0, "{:?}", source.health());
    assert_eq!(source.health().records, 5000);
}

#[test]
fn compressed_batches_are_read() {
    let peer = Simulated::new();
    let added = records(0, 0..3000);
    let settings = SourceSettings { fetch_bytes: 1_000_000, ..source_settings(peer.cluster.endpoint(), TOPIC) };
    let lines: String = added.iter().map(|record| format!("{}\n", String::from_utf8_lossy(record))).collect();
    crate::sink::deliver_compressed(&peer, &lines);
    let read = read_all(&mut open(settings, &BTreeMap::new()));
    let count: usize = read.records.values().map(Vec::len).sum();
    assert_eq!(count, 3000);
    let compressed: usize = (0..2).map(|partition| peer.cluster.batches(TOPIC, partition).0).sum();
    assert!(compressed > 0);
}

#[test]
fn retention_that_overtakes_stops_the_source() {
    let mut peer = Simulated::new();
    peer.add(0, &records(0, 0..400));
    peer.cluster.trim(TOPIC, 0, 200);
    let settings = source_settings(peer.cluster.endpoint(), TOPIC);
    let places = BTreeMap::from([(0, Place { position: 80, records: 80 }), (1, Place::default())]);
    let error = FluvioSource::open(settings.clone(), &places).err().expect("records are gone");
    assert_eq!(
        error.to_string(),
        "partition 0 of topic 'records' no longer has its records from offset 80 up to 200: retention has overtaken this \
         source, or the cluster has lost them\n  \
         hint: with lost_records = 'skip' the table goes on without them, and counts them"
    );
    let mut source = open(SourceSettings { lost: Lost::Skip, ..settings.clone() }, &places);
    assert_eq!(read_all(&mut source).records[&0], records(0, 200..400));
    assert_eq!(source.health().lost, 120);
    // Who has never read it begins with what there is.
    let mut source = open(settings, &BTreeMap::new());
    assert_eq!(read_all(&mut source).records[&0], records(0, 200..400));
    assert_eq!(source.health().lost, 0);
}

#[test]
fn records_that_a_cluster_has_lost_are_noticed() {
    let mut peer = Simulated::new();
    peer.add(0, &records(0, 0..400));
    peer.cluster.lose(TOPIC, 0, 130);
    let settings = source_settings(peer.cluster.endpoint(), TOPIC);
    let mut source = open(settings.clone(), &BTreeMap::new());
    let error = failure(&mut source);
    assert!(
        matches!(&error, ConnectError::Lost { partition: 0, missing, .. } if *missing == (120..160)),
        "{error}: {:?}",
        source.health()
    );
    let mut source = open(SourceSettings { lost: Lost::Skip, ..settings }, &BTreeMap::new());
    assert_eq!(read_all(&mut source).records[&0], [records(0, 0..120), records(0, 160..400)].concat());
    assert_eq!(source.health().lost, 40);
}

#[test]
fn a_batch_larger_than_what_is_asked_for_stops_the_source() {
    let peer = Simulated::new();
    let added: Vec<Vec<u8>> = (0..30).map(|_| vec![b'x'; 5000]).collect();
    peer.cluster.add(TOPIC, 0, &added, 30);
    let mut source = open(source_settings(peer.cluster.endpoint(), TOPIC), &BTreeMap::new());
    let error = failure(&mut source);
    assert!(matches!(error, ConnectError::BatchTooLarge { offset: 0, records: 30, .. }), "{error}");
}

#[test]
fn a_topic_made_anew_is_noticed() {
    let mut peer = Simulated::new();
    peer.add(0, &records(0, 0..400));
    let settings = source_settings(peer.cluster.endpoint(), TOPIC);
    let mut source = open(settings, &BTreeMap::new());
    read_records(&mut source, 400);
    peer.cluster.delete_topic(TOPIC);
    peer.cluster.create_topic(TOPIC, 2);
    peer.add(0, &records(0, 0..10));
    let error = failure(&mut source);
    assert!(matches!(error, ConnectError::OtherTopic { partition: 0, read: 400, has: 10, .. }), "{error}");
}

#[test]
fn a_table_that_begins_with_the_latest_has_what_comes_after() {
    let mut peer = Simulated::new();
    peer.add(0, &records(0, 0..100));
    let latest = || {
        let settings = source_settings(peer.cluster.endpoint(), TOPIC);
        SourceSettings { begin: chalk_connect::fluvio::Begin::Latest, ..settings }
    };
    let mut source = open(latest(), &BTreeMap::new());
    let mut places = BTreeMap::new();
    // Where it begins is said before there is a record.
    while let Polled::Chunk(chunk) = source.poll(Duration::from_millis(50)).expect("a source") {
        places.insert(chunk.partition, Place { position: chunk.position, records: 0 });
    }
    assert_eq!(places.values().map(|place| place.position).collect::<Vec<_>>(), [100, 0]);
    drop(source);
    let settings = latest();
    peer.add(0, &records(0, 100..130));
    assert_eq!(read_all(&mut open(settings, &places)).records[&0], records(0, 100..130));
}

/// What the connector was made for: none of two million is missing.
pub(crate) fn two_million_records_arrive(peer: &Real) {
    let value = |n: u64| format!("{{\"n\":{n},\"text\":\"{:0>150}\"}}", n).into_bytes();
    for partition in 0..3 {
        let mine: Vec<Vec<u8>> = (0..2_000_000).filter(|n| n % 3 == u64::from(partition)).map(value).collect();
        bare::produce(&peer.endpoint, &peer.topic, partition, &mine);
    }
    let read = read_all(&mut *SourcePeer::open(peer, &BTreeMap::new()));
    assert_eq!(read.records.values().map(Vec::len).sum::<usize>(), 2_000_000);
}
