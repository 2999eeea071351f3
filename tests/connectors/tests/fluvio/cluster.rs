//! The cluster in this process does what clients expect of one.

use crate::bare;
use crate::peers::{Simulated, TOPIC, source_settings};
use chalk_connect::fluvio::{ensure_topic, look};
use chalk_connector_tests::sources::{SourcePeer, records};
use std::time::Duration;

#[test]
fn the_bare_client_writes_and_reads() {
    let peer = Simulated::new();
    let added = records(1, 0..1000);
    bare::produce(peer.cluster.endpoint(), TOPIC, 1, &added);
    assert_eq!(peer.cluster.values(TOPIC, 1), added);
    // All of it at once: nothing is cut off.
    assert_eq!(bare::consume(peer.cluster.endpoint(), TOPIC, 1, 1 << 30, 999), 1000);
}

#[test]
fn topics_are_created() {
    let peer = Simulated::new();
    assert_eq!(peer.partitions(), 2);
    let access = source_settings(peer.cluster.endpoint(), TOPIC).access;
    ensure_topic(&access, "another", 3, Duration::from_secs(20)).expect("a topic");
    let report = look(&access, "another", Duration::from_secs(20)).expect("the topic");
    assert_eq!(report.partitions.len(), 3);
}
