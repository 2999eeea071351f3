//! What becomes of rows when the cluster does not take them.

use crate::peers::{Simulated, TOPIC, rows_by_id, sink_settings};
use chalk_connect::fluvio::{Compression, FluvioSink, SinkSettings};
use chalk_connect::{ConnectError, Sink};
use chalk_connector_tests::fluvio_peer::ProduceFault;
use chalk_event::Epoch;
use std::collections::BTreeMap;

/// Writes lines to the peer's topic as one epoch.
pub(crate) fn deliver_compressed(peer: &Simulated, lines: &str) {
    let settings = SinkSettings {
        compression: Compression::Zstd,
        batch_bytes: 20_000,
        ..sink_settings(peer.cluster.endpoint(), TOPIC)
    };
    let mut sink = FluvioSink::new(settings);
    sink.recover(None).expect("the cluster is there");
    sink.prepare(Epoch(1), lines).expect("it takes them");
}

fn sink(peer: &Simulated) -> FluvioSink {
    peer.cluster.create_topic_once("rows", 1);
    let mut sink = FluvioSink::new(sink_settings(peer.cluster.endpoint(), "rows"));
    sink.recover(None).expect("the cluster is there");
    sink
}

#[test]
fn rows_that_are_not_acknowledged_are_given_again_with_their_ids() {
    for fault in [ProduceFault::AppendedUnanswered, ProduceFault::Dropped, ProduceFault::Refused] {
        let peer = Simulated::new();
        let mut sink = sink(&peer);
        peer.cluster.produce_faults([fault, fault]);
        let state = sink.prepare(Epoch(1), "{\"n\":1}\n{\"n\":2}\n").expect("it comes through");
        assert_eq!(state, r#"{"rows":2}"#);
        let records = peer.cluster.values("rows", 0);
        assert_eq!(rows_by_id(records.clone()), ["{\"n\":1}", "{\"n\":2}"], "{fault:?}");
        if fault == ProduceFault::AppendedUnanswered {
            assert!(records.len() > 2, "some were appended more than once");
        }
    }
}

#[test]
fn a_cluster_that_takes_nothing_fails_the_epoch() {
    let peer = Simulated::new();
    let mut sink = sink(&peer);
    peer.cluster.produce_faults([ProduceFault::Refused; 100]);
    let error = sink.prepare(Epoch(1), "{\"n\":1}\n").expect_err("nothing was taken").to_string();
    assert!(error.starts_with(&format!("Fluvio at {}: ", peer.cluster.endpoint())), "{error}");
    assert!(error.contains("full"), "{error}");
}

#[test]
fn a_cluster_that_comes_back_gets_all_rows() {
    let peer = Simulated::new();
    let mut sink = sink(&peer);
    let mut expected = Vec::new();
    for epoch in 1..6 {
        let row = format!("{{\"n\":{epoch}}}");
        sink.prepare(Epoch(epoch), &format!("{row}\n")).expect("it comes through");
        expected.push(row);
        peer.cluster.restart().expect("a port");
    }
    assert_eq!(rows_by_id(peer.cluster.values("rows", 0)), expected);
}

#[test]
fn a_row_that_is_too_large_is_named() {
    let peer = Simulated::new();
    let mut sink = sink(&peer);
    let line = format!("{{\"text\":\"{}\"}}\n", "x".repeat(1_000_000));
    let error = sink.prepare(Epoch(1), &line).expect_err("no batch holds it");
    assert!(matches!(&error, ConnectError::RecordTooLarge { topic, .. } if topic == "rows"), "{error}");
}

#[test]
fn one_key_is_in_one_partition() {
    let peer = Simulated::new();
    let settings =
        SinkSettings { key_field: Some("pupil".to_owned()), ..sink_settings(peer.cluster.endpoint(), TOPIC) };
    let mut sink = FluvioSink::new(settings);
    sink.recover(None).expect("the cluster is there");
    let lines: String = (0..200).map(|n| format!("{{\"n\":{n},\"pupil\":\"p{}\"}}\n", n % 10)).collect();
    sink.prepare(Epoch(1), &lines).expect("it takes them");
    let mut of_key: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for partition in 0..2 {
        for (key, _) in peer.cluster.records(TOPIC, partition) {
            assert_eq!(*of_key.entry(key.expect("a key")).or_insert(partition), partition);
        }
    }
    assert_eq!(of_key.len(), 10);
}

#[test]
fn batches_are_as_large_as_they_may_be() {
    let peer = Simulated::new();
    let mut sink = sink(&peer);
    let lines: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    sink.prepare(Epoch(1), &lines).expect("it takes them");
    let (compressed, largest) = peer.cluster.batches("rows", 0);
    assert_eq!(compressed, 0);
    assert!((800..1200).contains(&largest), "{largest}");
}
