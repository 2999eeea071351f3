//! A Fluvio cluster of one SC and one SPU in this process, as far as clients see it: the published schemas on the real wire.
//!
//! It does what a cluster was seen to do, and the unkind part of it above all: a fetch is a slice of the log that is cut off after so many bytes,
//! in the middle of a batch if need be. The released client takes such a batch for a whole one and goes on behind it.
//!
//! ```text
//! client ──versions, watch, list, create──▶ SC    what there is: topics, partitions, where the SPU listens
//!        ──versions, offsets, produce─────▶ SPU   partitions: batches, as they are on the wire
//!        ──stream fetch, acknowledgements─▶       a slice, then the next once the last is acknowledged
//! ```

mod front;
mod sc;
mod spu;
mod state;
mod wire;

use front::Front;
use state::{Partition, Shared, State};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;

pub use state::ProduceFault;

/// The id of the only SPU.
const SPU: i32 = 5001;

/// A cluster. It ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    endpoint: String,
    /// Where the SC really listens.
    inner: SocketAddr,
    front: Option<Front>,
}

impl Cluster {
    /// A cluster without topics, which listens on ports of the system's choice.
    ///
    /// # Errors
    /// When the system has none.
    pub fn start() -> io::Result<Self> {
        Self::start_behind(None)
    }

    /// The same, with TLS on all connections.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_encrypted(config: Arc<ServerConfig>) -> io::Result<Self> {
        Self::start_behind(Some(Front::new(config)?))
    }

    fn start_behind(front: Option<Front>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let inner = listener.local_addr()?;
        let endpoint = front.as_ref().map_or(Ok(inner), |front| front.listen(inner))?.to_string();
        let shared = Arc::new(Shared::default());
        wire::listen(listener, &shared, 0, sc::answer);
        let cluster = Self { shared, endpoint, inner, front };
        cluster.start_spu()?;
        Ok(cluster)
    }

    fn start_spu(&self) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let inner = listener.local_addr()?;
        let address = self.front.as_ref().map_or(Ok(inner), |front| front.listen(inner))?;
        let generation = self.shared.change(|state| {
            state.spu_port = address.port();
            state.generation += 1;
            state.generation
        });
        wire::listen(listener, &self.shared, generation, spu::answer);
        Ok(())
    }

    /// Where clients begin: `host:port` of the SC.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: u32) {
        self.shared.change(|state| {
            let partitions = (0..partitions).map(|_| Partition::default()).collect();
            state.topics.insert(topic.to_owned(), partitions);
        });
    }

    /// Makes a topic, unless it is there.
    pub fn create_topic_once(&self, topic: &str, partitions: u32) {
        if self.partitions(topic) == 0 {
            self.create_topic(topic, partitions);
        }
    }

    /// Deletes a topic with all that it has.
    pub fn delete_topic(&self, topic: &str) {
        self.shared.change(|state| state.topics.remove(topic));
    }

    /// How many partitions a topic has; none when there is no such topic.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> u32 {
        self.shared.state().topics.get(topic).map_or(0, |partitions| partitions.len() as u32)
    }

    /// A topic has one partition more.
    pub fn add_partition(&self, topic: &str) {
        self.partition_changes(topic, |partitions| partitions.push(Partition::default()));
    }

    /// Appends records in batches of so many.
    pub fn add(&self, topic: &str, partition: u32, records: &[Vec<u8>], batch: usize) {
        self.partition_changes(topic, |partitions| {
            for records in records.chunks(batch.max(1)) {
                partitions[partition as usize].append_records(records);
            }
        });
    }

    /// The values of all records that a partition has.
    #[must_use]
    pub fn values(&self, topic: &str, partition: u32) -> Vec<Vec<u8>> {
        self.records(topic, partition).into_iter().map(|(_, value)| value).collect()
    }

    /// Keys and values of all records that a partition has.
    #[must_use]
    pub fn records(&self, topic: &str, partition: u32) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
        self.shared.state().topics.get(topic).map_or_else(Vec::new, |all| all[partition as usize].records())
    }

    /// How many batches of a partition are compressed, and how many bytes the largest has.
    #[must_use]
    pub fn batches(&self, topic: &str, partition: u32) -> (usize, usize) {
        self.shared.state().topics.get(topic).map_or((0, 0), |all| all[partition as usize].batches())
    }

    /// Lets go of the records before an offset, as retention does: of whole batches.
    pub fn trim(&self, topic: &str, partition: u32, offset: i64) {
        self.partition_changes(topic, |partitions| partitions[partition as usize].trim(offset));
    }

    /// Loses a record in the middle of its log, which no cluster should.
    pub fn lose(&self, topic: &str, partition: u32, offset: i64) {
        self.partition_changes(topic, |partitions| partitions[partition as usize].lose(offset));
    }

    /// The SPU goes away and comes back elsewhere; all connections end.
    ///
    /// # Errors
    /// When the system has no port.
    pub fn restart(&self) -> io::Result<()> {
        self.stop();
        self.start_spu()
    }

    /// The SPU goes away; all connections end.
    pub fn stop(&self) {
        let connections = self.shared.change(|state| {
            state.spu_port = 0;
            state.generation += 1;
            std::mem::take(&mut state.connections)
        });
        for connection in connections {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Takes requests and answers none, until it is told to go on.
    pub fn hold(&self, held: bool) {
        self.shared.change(|state| state.held = held);
    }

    /// What becomes of the requests to append that follow, one after the other.
    pub fn produce_faults(&self, faults: impl IntoIterator<Item = ProduceFault>) {
        self.shared.change(|state| state.produce_faults.extend(faults));
    }

    /// Bytes of records that were sent.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.shared.state().sent_bytes
    }

    fn partition_changes(&self, topic: &str, change: impl FnOnce(&mut Vec<Partition>)) {
        self.shared.change(|state: &mut State| {
            if let Some(partitions) = state.topics.get_mut(topic) {
                change(partitions);
            }
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        self.shared.change(|state| state.ended = true);
        // The listener takes one more connection, and sees that it is to end.
        let _ = std::net::TcpStream::connect(self.inner);
    }
}
