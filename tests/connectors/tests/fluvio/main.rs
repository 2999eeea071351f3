//! Fluvio topics pass the suites; and what only a cluster can do to a connector.
//!
//! With `FLUVIO_ENDPOINT` set to `host:port` of a cluster's SC, the suites run on that, too, with topics of their own that stay there.

mod bare;
mod cluster;
mod loss;
mod mistakes;
mod peers;
mod sink;
mod tls;

use peers::{Real, Simulated};

#[test]
fn a_topic_is_a_source() {
    chalk_connector_tests::sources::check_source(Simulated::new);
}

#[test]
fn a_topic_of_a_server_is_a_source() {
    chalk_connector_tests::sources::check_server(Simulated::new);
}

#[test]
fn a_topic_is_a_sink() {
    chalk_connector_tests::sinks::check_sink(Simulated::new);
}

#[test]
#[ignore = "needs a cluster: FLUVIO_ENDPOINT=host:port"]
fn a_real_cluster_passes_the_suites() {
    let endpoint = std::env::var("FLUVIO_ENDPOINT").expect("FLUVIO_ENDPOINT says where the cluster is");
    chalk_connector_tests::sources::check_source(|| Real::new(&endpoint));
    chalk_connector_tests::sinks::check_sink(|| Real::new(&endpoint));
    loss::two_million_records_arrive(&Real::new(&endpoint));
}
