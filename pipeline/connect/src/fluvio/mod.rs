//! `connector = 'fluvio'`: topics of a Fluvio cluster, read to the last record and written at least once.
//!
//! The client that the cluster's makers publish does the talking, and is not trusted to be complete: see `follow.rs`. It runs on threads of its
//! own; what is here is polled by the thread that reads or writes, and each wait has an end.

mod cluster;
mod follow;
mod producer;
mod record;
mod sink;
mod source;

pub use producer::{Producer, ProducerSettings, Record};
pub use sink::{Compression, FluvioSink, SinkSettings};
pub use source::{Begin, FluvioSource, Lost, SourceSettings, Timing};

use crate::ConnectError;
use std::path::PathBuf;
use std::time::Duration;

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the address of its SC.
    Endpoint {
        /// `host:port`.
        endpoint: String,
        /// How the connection is encrypted.
        tls: Tls,
    },
    /// As a profile of `~/.fluvio/config` says; the current one without a name.
    Profile(Option<String>),
}

/// How connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disabled,
    /// Whoever answers is believed.
    Anonymous,
    /// Both sides show certificates.
    Verified {
        /// The name that the cluster's certificate is for.
        domain: String,
        /// Files in PEM.
        ca_cert: PathBuf,
        /// Of this side.
        cert: PathBuf,
        /// Of this side.
        key: PathBuf,
    },
}

/// What a topic has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// The first offset that is there and the one after the last, by partition.
    pub partitions: std::collections::BTreeMap<u32, std::ops::Range<u64>>,
    /// The platform's version.
    pub platform: String,
}

/// Looks at a topic: whether it can be reached, and what it has.
///
/// # Errors
/// When the cluster cannot be reached in time, or has no such topic.
pub fn look(access: &Access, topic: &str, within: Duration) -> Result<TopicReport, ConnectError> {
    cluster::blocking(within, async {
        let cluster = cluster::Cluster::connect(access, within).await?;
        let platform = cluster.platform();
        Ok(TopicReport { partitions: cluster.offsets(topic).await?, platform })
    })
    .map_err(|trouble| trouble.into_error(access))
}

/// Makes a topic, unless it is there.
///
/// # Errors
/// When the cluster cannot be reached in time, or does not make it.
pub fn ensure_topic(access: &Access, topic: &str, partitions: u32, within: Duration) -> Result<(), ConnectError> {
    let made = async {
        let cluster = cluster::Cluster::connect(access, within).await?;
        match cluster.offsets(topic).await {
            Err(cluster::Trouble::NoTopic(_)) => cluster.create(topic, partitions).await,
            found => found.map(drop),
        }
    };
    cluster::blocking(within, made).map_err(|trouble| trouble.into_error(access))
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Endpoint { endpoint, .. } => f.write_str(endpoint),
            Self::Profile(Some(profile)) => write!(f, "profile '{profile}'"),
            Self::Profile(None) => f.write_str("the current profile"),
        }
    }
}
