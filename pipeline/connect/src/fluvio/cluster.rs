//! A connection to a cluster, and what one asks it.

use super::{Access, Tls};
use crate::ConnectError;
use fluvio::config::{TlsConfig, TlsPaths, TlsPolicy};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, FluvioClusterConfig};
use fluvio_future::net::DomainConnector;
use fluvio_future::rust_tls::{ConnectorBuilder, TlsDomainConnector};
use fluvio_future::timer::after;
use fluvio_protocol::api::RequestMessage;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::ReplicaKey;
use fluvio_socket::ClientConfig;
use fluvio_spu_schema::server::fetch_offset::{FetchOffsetPartition, FetchOffsetTopic, FetchOffsetsRequest};
use futures::future::{Either, select};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

/// What went wrong, and whether it helps to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The cluster did not answer, or not as it should; it may later.
    Passing(String),
    /// There is no such topic.
    NoTopic(String),
    /// What was given cannot be used.
    Settings(String),
}

impl Trouble {
    pub(super) fn passing(error: impl std::fmt::Display) -> Self {
        Self::Passing(format!("{error:#}"))
    }

    pub(super) fn into_error(self, access: &Access) -> ConnectError {
        let (what, hint) = match self {
            Self::Passing(what) => {
                let hint = "is its SC listening there, and an SPU online (fluvio cluster spu list)? With TLS, are both sides of one mind?";
                (what, hint.to_owned())
            }
            Self::NoTopic(topic) => return ConnectError::NoTopic { cluster: access.to_string(), topic },
            Self::Settings(what) => (what, "see the table's options endpoint, profile and tls".to_owned()),
        };
        ConnectError::Fluvio { cluster: access.to_string(), what, hint }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passing(what) | Self::Settings(what) => f.write_str(what),
            Self::NoTopic(topic) => write!(f, "there is no topic '{topic}'"),
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(time: Duration, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    match select(pin!(answer), after(time)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(Trouble::Passing(format!("no answer within {} s", time.as_secs_f32()))),
    }
}

/// Waits on the calling thread.
pub(super) fn blocking<T>(time: Duration, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    fluvio_future::task::run_block_on(within(time, answer))
}

/// A connection to the SC; those to SPUs are made when they are needed.
pub(super) struct Cluster {
    pub(super) client: Fluvio,
    admin: FluvioAdmin,
    config: FluvioClusterConfig,
    connector: DomainConnector,
    patience: Duration,
}

impl Cluster {
    pub(super) async fn connect(access: &Access, patience: Duration) -> Result<Self, Trouble> {
        let config = config(access)?;
        let connector = connector(&config)?;
        let connected = async {
            let client = Fluvio::connect_with_connector(connector.clone(), &config).await.map_err(Trouble::passing)?;
            let admin = client.admin().await;
            Ok((client, admin))
        };
        let (client, admin) = within(patience, connected).await?;
        Ok(Self { client, admin, config, connector, patience })
    }

    pub(super) fn platform(&self) -> String {
        self.client.platform_version().to_string()
    }

    /// Makes a topic without replicas, and waits until its partitions are there.
    pub(super) async fn create(&self, topic: &str, partitions: u32) -> Result<(), Trouble> {
        let spec = TopicSpec::new_computed(partitions, 1, None);
        self.admin.create(topic.to_owned(), false, spec).await.map_err(Trouble::passing)?;
        loop {
            match self.offsets(topic).await {
                Ok(offsets) if offsets.len() == partitions as usize => return Ok(()),
                Ok(_) | Err(Trouble::NoTopic(_) | Trouble::Passing(_)) => after(Duration::from_millis(50)).await,
                Err(trouble) => return Err(trouble),
            };
        }
    }

    /// What a topic's partitions have: the first offset that is there, and the one after the last. The SPUs are asked, for what the SC
    /// knows of offsets is of some time ago.
    pub(super) async fn offsets(&self, topic: &str) -> Result<BTreeMap<u32, Range<u64>>, Trouble> {
        within(self.patience, self.ask_offsets(topic)).await
    }

    async fn ask_offsets(&self, topic: &str) -> Result<BTreeMap<u32, Range<u64>>, Trouble> {
        let mut led: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for partition in self.admin.all::<PartitionSpec>().await.map_err(Trouble::passing)? {
            let key = ReplicaKey::try_from(partition.name).map_err(Trouble::passing)?;
            if key.topic == topic {
                led.entry(partition.spec.leader).or_default().push(key.partition);
            }
        }
        if led.is_empty() {
            return Err(Trouble::NoTopic(topic.to_owned()));
        }
        let spus = self.admin.all::<SpuSpec>().await.map_err(Trouble::passing)?;
        let mut all = BTreeMap::new();
        for (leader, partitions) in led {
            let spu = spus.iter().find(|spu| spu.spec.id == leader).filter(|spu| spu.status.is_online());
            let Some(spu) = spu else {
                return Err(Trouble::Passing(format!(
                    "SPU {leader}, which leads partitions of '{topic}', is not online"
                )));
            };
            let address = match &spu.spec.public_endpoint_local {
                Some(local) if self.config.use_spu_local_address => format!("{}:{}", local.host, local.port),
                _ => spu.spec.public_endpoint.addr(),
            };
            self.ask_spu(&spu.name, address, topic, partitions, &mut all).await?;
        }
        Ok(all)
    }

    async fn ask_spu(
        &self,
        spu: &str,
        address: String,
        topic: &str,
        partitions: Vec<u32>,
        all: &mut BTreeMap<u32, Range<u64>>,
    ) -> Result<(), Trouble> {
        let FluvioClusterConfig { endpoint, use_spu_local_address, .. } = &self.config;
        let config = ClientConfig::new(endpoint, self.connector.clone(), *use_spu_local_address);
        let mut config = config.with_prefix_sni_domain(spu);
        config.set_addr(address);
        let (mut socket, _, versions) = config.connect().await.map_err(Trouble::passing)?.split();
        let partitions = partitions.into_iter().map(|partition_index| FetchOffsetPartition { partition_index });
        let asked = FetchOffsetTopic { name: topic.to_owned(), partitions: partitions.collect() };
        let mut request =
            RequestMessage::new_request(FetchOffsetsRequest { topics: vec![asked], ..Default::default() });
        if let Some(version) = versions.lookup_version::<FetchOffsetsRequest>() {
            request.get_mut_header().set_api_version(version);
        }
        let answer = socket.send(&request).await.map_err(Trouble::passing)?.response;
        for found in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            if found.error_code != ErrorCode::None {
                let what = format!("partition {} of '{topic}': {}", found.partition_index, found.error_code);
                return Err(Trouble::Passing(what));
            }
            let offset = |offset: i64| u64::try_from(offset).map_err(Trouble::passing);
            all.insert(found.partition_index, offset(found.start_offset)?..offset(found.last_stable_offset)?);
        }
        Ok(())
    }
}

/// How connections are made. For `anonymous` the client's own way takes `host:port` for the name of the host, which no cluster can have.
fn connector(config: &FluvioClusterConfig) -> Result<DomainConnector, Trouble> {
    // Also where the process gets its cryptography from.
    let clients_own = DomainConnector::try_from(config.tls.clone());
    let clients_own = clients_own.map_err(|error| Trouble::Settings(format!("{error:#}")))?;
    if config.tls != TlsPolicy::Anonymous {
        return Ok(clients_own);
    }
    let host = config.endpoint.rsplit_once(':').map_or(config.endpoint.as_str(), |(host, _)| host);
    // The names of SPUs are put before it, which an address does not bear; nobody verifies it.
    let host = if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() { "localhost" } else { host };
    let connector = ConnectorBuilder::with_safe_defaults().no_cert_verification().build();
    Ok(Box::new(TlsDomainConnector::new(connector, host.to_owned())))
}

fn config(access: &Access) -> Result<FluvioClusterConfig, Trouble> {
    let unusable = |error: fluvio::FluvioError| Trouble::Settings(error.to_string());
    match access {
        Access::Endpoint { endpoint, tls } => {
            let config = FluvioClusterConfig::new(endpoint);
            Ok(match tls {
                Tls::Disabled => config,
                Tls::Anonymous => config.with_tls(TlsPolicy::Anonymous),
                Tls::Verified { domain, ca_cert, cert, key } => {
                    for file in [ca_cert, cert, key] {
                        std::fs::File::open(file)
                            .map_err(|error| Trouble::Settings(format!("cannot open {}: {error}", file.display())))?;
                    }
                    let (domain, ca_cert) = (domain.clone(), ca_cert.clone());
                    let paths = TlsPaths { domain, ca_cert, cert: cert.clone(), key: key.clone() };
                    config.with_tls(TlsConfig::Files(paths))
                }
            })
        }
        Access::Profile(None) => FluvioClusterConfig::load().map_err(unusable),
        Access::Profile(Some(profile)) => {
            let found = FluvioClusterConfig::load_with_profile(profile).map_err(unusable)?;
            found.ok_or_else(|| Trouble::Settings(format!("there is no profile '{profile}' in ~/.fluvio/config")))
        }
    }
}
