//! What is given wrong, or not there, is said at once.

use crate::peers::{Simulated, TOPIC, sink_settings, source_settings, timing};
use chalk_connect::fluvio::{Access, FluvioSink, FluvioSource, SourceSettings, Timing, Tls, look};
use chalk_connect::{ConnectError, Sink};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub(crate) fn open(settings: SourceSettings) -> ConnectError {
    let settings = SourceSettings { timing: Timing { answer: Duration::from_secs(2), ..timing() }, ..settings };
    FluvioSource::open(settings, &BTreeMap::new()).err().expect("it cannot be used")
}

#[test]
fn a_wrong_endpoint_is_refused() {
    // A port that was free a moment ago, and nobody listens at.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let error = open(source_settings(&format!("127.0.0.1:{port}"), TOPIC)).to_string();
    assert!(error.starts_with(&format!("Fluvio at 127.0.0.1:{port}: ")), "{error}");
    assert!(error.contains("hint: is its SC listening there"), "{error}");
}

#[test]
fn something_else_that_listens_is_no_cluster() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = listener.local_addr().expect("an address").to_string();
    let began = Instant::now();
    let error = open(source_settings(&endpoint, TOPIC)).to_string();
    assert!(error.contains("no answer within 2 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_missing_topic_is_refused() {
    let peer = Simulated::new();
    let error = open(source_settings(peer.cluster.endpoint(), "others")).to_string();
    let endpoint = peer.cluster.endpoint();
    assert_eq!(error, format!("Fluvio at {endpoint}: it has no topic 'others'\n  hint: fluvio topic create others"));
    let mut sink = FluvioSink::new(sink_settings(endpoint, "others"));
    assert_eq!(sink.recover(None).expect_err("no topic").to_string(), error);
}

#[test]
fn a_cluster_without_its_spu_is_refused() {
    let peer = Simulated::new();
    peer.cluster.stop();
    let error = open(source_settings(peer.cluster.endpoint(), TOPIC)).to_string();
    assert!(error.contains("SPU 5001, which leads partitions of 'records', is not online"), "{error}");
}

#[test]
fn tls_on_one_side_alone_is_refused() {
    let peer = Simulated::new();
    let access = Access::Endpoint { endpoint: peer.cluster.endpoint().to_owned(), tls: Tls::Anonymous };
    let error = open(SourceSettings { access, ..source_settings("", TOPIC) }).to_string();
    assert!(error.contains("With TLS, are both sides of one mind?"), "{error}");
}

#[test]
fn certificates_that_are_not_there_are_named() {
    let tls = Tls::Verified {
        domain: "school.example".to_owned(),
        ca_cert: "/nowhere/ca.pem".into(),
        cert: "/nowhere/me.pem".into(),
        key: "/nowhere/me.key".into(),
    };
    let access = Access::Endpoint { endpoint: "127.0.0.1:1".to_owned(), tls };
    let error = open(SourceSettings { access, ..source_settings("", TOPIC) }).to_string();
    assert!(error.contains("cannot open /nowhere/ca.pem"), "{error}");
}

#[test]
fn a_topic_can_be_looked_at() {
    let peer = Simulated::new();
    peer.cluster.add(TOPIC, 1, &[b"{}".to_vec()], 1);
    let access = source_settings(peer.cluster.endpoint(), TOPIC).access;
    let report = look(&access, TOPIC, Duration::from_secs(20)).expect("a topic");
    assert_eq!(report.partitions, BTreeMap::from([(0, 0..0), (1, 0..1)]));
    assert_eq!(report.platform, "0.50.1");
}
