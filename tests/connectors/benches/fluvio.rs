//! Records in and out per second of processor time, beside the bare client, against the cluster of the tests in a process of its own:
//! `cargo bench -p chalk-connector-tests --features chalk-connector-tests/fluvio --bench fluvio -- [RECORDS]`.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use chalk_connect::fluvio::{
    Access, Begin, Compression, FluvioSink, FluvioSource, Lost, Producer, ProducerSettings, Record, SinkSettings,
    SourceSettings, Timing, Tls, ensure_topic,
};
use chalk_connect::{Place, Polled, Sink, Source};
use chalk_connector_tests::fluvio_peer::Cluster;
use chalk_event::Epoch;
use fluvio::consumer::{ConsumerConfigExtBuilder, RetryMode};
use fluvio::{Fluvio, FluvioClusterConfig, Offset, RecordKey, TopicProducerConfigBuilder};
use fluvio_future::task::run_block_on;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TOPIC: &str = "records";
const PARTITIONS: u32 = 3;
const FETCH_BYTES: i32 = 64 << 20;
/// All of a partition: the bare client loses what is cut off.
const BARE_FETCH_BYTES: i32 = 1 << 30;
/// Lines are given to a sink in epochs of about so many bytes.
const EPOCH_BYTES: usize = 4 << 20;
const ROUNDS: usize = 3;
/// So many records are timed.
const TIMED: u64 = 50_000;

fn record(n: u64) -> String {
    format!("{{\"n\":{n:08},\"student_id\":\"s{:05}\",\"text\":\"{:0>130}\"}}", n % 30_000, n)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Cargo says --bench.
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    if arguments.iter().any(|argument| argument == "peer") {
        return peer(count);
    }
    let program = std::env::current_exe().expect("this program");
    let mut peer = Command::new(program);
    peer.args(["peer", &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = peer.spawn().expect("this program starts");
    let mut said = BufReader::new(peer.stdout.take().expect("a pipe"));
    let mut endpoint = String::new();
    said.read_line(&mut endpoint).expect("where it listens");
    let endpoint = endpoint.trim();
    let restart = || {
        let told = peer.stdin.as_mut().expect("a pipe");
        told.write_all(b"restart\n").and_then(|()| told.flush()).expect("it listens");
        said.read_line(&mut String::new()).expect("it says when it is back");
    };
    latency(endpoint, restart);
    figures(endpoint, count);
    drop(peer.stdin.take());
    // Whatever it says at its end is of no interest.
    let _ = peer.wait();
}

/// A cluster with records, until its input ends; each line of it has the SPU go away and come back.
fn peer(count: u64) {
    let cluster = Cluster::start().expect("a port");
    cluster.create_topic(TOPIC, PARTITIONS);
    for partition in 0..PARTITIONS {
        let of_it = (0..count).filter(|n| n % u64::from(PARTITIONS) == u64::from(partition));
        let records: Vec<Vec<u8>> = of_it.map(|n| record(n).into_bytes()).collect();
        cluster.add(TOPIC, partition, &records, 90);
    }
    println!("{}", cluster.endpoint());
    for _ in std::io::stdin().lines() {
        cluster.restart().expect("a port");
        println!("restarted");
    }
}

/// From before a record is produced to when a source has given it, open loop; and from a restart of the cluster to the first record after it.
fn latency(endpoint: &str, restart: impl FnOnce()) {
    let topic = "latency".to_owned();
    ensure_topic(&access(endpoint), &topic, 1, Duration::from_secs(30)).expect("a topic");
    let settings = ProducerSettings {
        access: access(endpoint),
        topic: topic.clone(),
        compression: Compression::None,
        batch_bytes: 256 << 10,
        timing: Timing::default(),
    };
    let mut producer = Producer::new(settings);
    producer.connect().expect("the cluster is there");
    let began = Instant::now();
    let reading = {
        let (endpoint, topic) = (endpoint.to_owned(), topic.clone());
        std::thread::spawn(move || came(&endpoint, &topic, began))
    };
    let mut sent = 0;
    while sent < TIMED {
        let due = u64::try_from(began.elapsed().as_micros()).expect("minutes") / 100;
        let due = due.min(TIMED);
        if due == sent {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        // Each was due a tenth of a millisecond after the one before.
        let records: Vec<Record> = (sent..due).map(|n| Record::new(None, record(n).into_bytes())).collect();
        producer.produce(&records).expect("it takes them");
        sent = due;
    }
    let mut late: Vec<Duration> = reading.join().expect("it reads");
    late.sort_unstable();
    let at = |permille: usize| late[(late.len() - 1) * permille / 1000].as_secs_f64() * 1000.0;
    println!(
        "{TIMED} records at 10,000/s, from when each was due until it was read: p50 {:.1} ms, p99 {:.1} ms",
        at(500),
        at(990)
    );

    let mut source = source(endpoint, &topic, TIMED);
    while source.poll(Duration::from_millis(50)).expect("the source goes on") != Polled::Nothing {}
    restart();
    let began = Instant::now();
    producer.produce(&[Record::new(None, record(0).into_bytes())]).expect("it takes it");
    let taken = began.elapsed();
    while source.poll(Duration::from_millis(50)).expect("the source goes on") == Polled::Nothing {}
    println!(
        "after a restart of the cluster a record is taken within {:.2} s, and read within {:.2} s",
        taken.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
}

/// How late each record came.
fn came(endpoint: &str, topic: &str, began: Instant) -> Vec<Duration> {
    let mut source = source(endpoint, topic, 0);
    let mut late = Vec::new();
    while (late.len() as u64) < TIMED {
        if let Polled::Chunk(chunk) = source.poll(Duration::from_millis(100)).expect("the source goes on") {
            let now = began.elapsed();
            let due = |n: usize| Duration::from_micros(100 * n as u64);
            late.extend((late.len()..).take(chunk.records as usize).map(|n| now.saturating_sub(due(n))));
        }
    }
    late
}

fn source(endpoint: &str, topic: &str, position: u64) -> FluvioSource {
    let settings = SourceSettings {
        access: access(endpoint),
        topic: topic.to_owned(),
        begin: Begin::Earliest,
        lost: Lost::Stop,
        fetch_bytes: FETCH_BYTES,
        timing: Timing::default(),
    };
    let places = BTreeMap::from([(0, Place { position, records: position })]);
    let places = if position == 0 { BTreeMap::new() } else { places };
    FluvioSource::open(settings, &places).expect("the cluster is there")
}

fn figures(endpoint: &str, count: u64) {
    println!("{count} records of {} bytes in {PARTITIONS} partitions, {ROUNDS} rounds", record(0).len());
    let mut all: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (name, work) in [("in, bare client", in_bare as fn(&str, u64) -> u64), ("in, source", in_source)] {
            all.entry(name).or_default().push(measured(count, || work(endpoint, count)));
        }
        let ways: [(&str, Way); 3] =
            [("out, bare client", Way::Bare), ("out, sink", Way::Sink(false)), ("out, sink with ids", Way::Sink(true))];
        for (number, (name, way)) in ways.into_iter().enumerate() {
            let topic = format!("out-{round}-{number}");
            ensure_topic(&access(endpoint), &topic, PARTITIONS, Duration::from_secs(30)).expect("a topic");
            let lines: Vec<String> = (0..count / 4).map(record).collect();
            let work = || match way {
                Way::Bare => out_bare(endpoint, &topic, &lines),
                Way::Sink(ids) => out_sink(endpoint, &topic, &lines, ids),
            };
            all.entry(name).or_default().push(measured(count / 4, work));
        }
    }
    for (name, mut rounds) in all {
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (per_cpu, per_second) = rounds[rounds.len() / 2];
        println!("{name:20} {per_cpu:>12.0} records/CPU-second {per_second:>12.0} records/second");
    }
}

#[derive(Clone, Copy)]
enum Way {
    Bare,
    /// Whether rows get ids.
    Sink(bool),
}

/// Records per second of this process's processor time, and of the clock's.
fn measured(count: u64, work: impl FnOnce() -> u64) -> (f64, f64) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    assert_eq!(work(), count, "all records, or the figure is of something else");
    (count as f64 / (cpu_seconds() - cpu), count as f64 / began.elapsed().as_secs_f64())
}

/// This process's processor time so far, of all threads: in the kernel's ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn access(endpoint: &str) -> Access {
    Access::Endpoint { endpoint: endpoint.to_owned(), tls: Tls::Disabled }
}

fn in_bare(endpoint: &str, count: u64) -> u64 {
    run_block_on(async {
        let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(endpoint)).await.expect("a cluster");
        let config = ConsumerConfigExtBuilder::default()
            .topic(TOPIC)
            .offset_start(Offset::beginning())
            .retry_mode(RetryMode::Disabled)
            .max_bytes(BARE_FETCH_BYTES)
            .build()
            .expect("a configuration");
        let mut stream = client.consumer_with_config(config).await.expect("a stream");
        let (mut read, mut bytes) = (0, 0);
        while read < count {
            let record = stream.next().await.expect("a stream goes on").expect("a record");
            bytes += record.value().len();
            read += 1;
        }
        assert!(bytes > 0);
        read
    })
}

fn in_source(endpoint: &str, _: u64) -> u64 {
    let mut source = source(endpoint, TOPIC, 0);
    source.drain().expect("the cluster is there");
    let mut read = 0;
    loop {
        match source.poll(Duration::from_millis(100)).expect("the source goes on") {
            Polled::Chunk(chunk) => read += chunk.records,
            Polled::Nothing => {}
            Polled::End => return read,
        }
    }
}

fn out_bare(endpoint: &str, topic: &str, lines: &[String]) -> u64 {
    run_block_on(async {
        let client = Fluvio::connect_with_config(&FluvioClusterConfig::new(endpoint)).await.expect("a cluster");
        let config =
            TopicProducerConfigBuilder::default().batch_size(256 << 10).linger(Duration::from_secs(60)).build();
        let config = config.expect("a configuration");
        let producer = client.topic_producer_with_config(topic, config).await.expect("a topic");
        for line in lines {
            producer.send(RecordKey::NULL, line.as_bytes()).await.expect("it is sent");
        }
        producer.flush().await.expect("it is there");
    });
    lines.len() as u64
}

fn out_sink(endpoint: &str, topic: &str, lines: &[String], ids: bool) -> u64 {
    let mut sink = FluvioSink::new(SinkSettings {
        access: access(endpoint),
        topic: topic.to_owned(),
        key_field: None,
        compression: Compression::None,
        batch_bytes: 256 << 10,
        add_event_id: ids,
        identity: "project/insert_into_records/records".to_owned(),
        timing: Timing::default(),
    });
    sink.recover(None).expect("the cluster is there");
    let mut epoch = String::new();
    let mut number = 0;
    for line in lines {
        epoch.push_str(line);
        epoch.push('\n');
        if epoch.len() > EPOCH_BYTES {
            number += 1;
            sink.prepare(Epoch(number), &epoch).expect("it takes them");
            epoch.clear();
        }
    }
    let state = sink.prepare(Epoch(number + 1), &epoch).expect("it takes them");
    assert_eq!(state, format!("{{\"rows\":{}}}", lines.len()));
    lines.len() as u64
}
