//! The bare client, as it is used without a guard: what the connector is measured by.

use fluvio::consumer::{ConsumerConfigExtBuilder, OffsetManagementStrategy, RetryMode};
use fluvio::{Fluvio, FluvioClusterConfig, Offset, RecordKey, TopicProducerConfigBuilder};
use fluvio_future::task::run_block_on;
use futures::StreamExt;

/// Writes records to one partition.
pub(crate) fn produce(endpoint: &str, topic: &str, partition: u32, records: &[Vec<u8>]) {
    run_block_on(async {
        let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(endpoint)).await.expect("a cluster");
        let mut config = TopicProducerConfigBuilder::default();
        config.set_specific_partitioner(partition);
        let config =
            config.batch_size(16_384).linger(std::time::Duration::from_secs(60)).build().expect("a configuration");
        let producer = client.topic_producer_with_config(topic, config).await.expect("a topic");
        for record in records {
            producer.send(RecordKey::NULL, &record[..]).await.expect("it is sent");
        }
        producer.flush().await.expect("it is there");
    });
}

/// How many records of a partition the client gives, when it is asked for so many bytes at once, from the first up to the last.
pub(crate) fn consume(endpoint: &str, topic: &str, partition: u32, fetch_bytes: i32, last: i64) -> u64 {
    run_block_on(async {
        let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(endpoint)).await.expect("a cluster");
        let config = ConsumerConfigExtBuilder::default()
            .topic(topic)
            .partition(partition)
            .offset_start(Offset::beginning())
            .offset_strategy(OffsetManagementStrategy::None)
            .retry_mode(RetryMode::Disabled)
            .max_bytes(fetch_bytes)
            .build()
            .expect("a configuration");
        let mut stream = client.consumer_with_config(config).await.expect("a stream");
        let mut count = 0;
        while let Some(Ok(record)) = stream.next().await {
            count += 1;
            if record.offset >= last {
                break;
            }
        }
        count
    })
}
