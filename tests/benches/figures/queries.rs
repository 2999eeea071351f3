//! Point queries on a leaderboard over PostgreSQL's protocol, with nothing else to do and while submissions come in.

use crate::Wanted;
use crate::machine::{ms, quantile};
use crate::workload::{InFlight, Workload, open, waiter};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

const SUBMISSIONS: u64 = 100_000;
/// Submissions a second meanwhile.
const RATE: u64 = 5_000;
const SQL: &str = "SELECT rank, student_id, score FROM class_leaderboard WHERE class_id = $1 ORDER BY rank LIMIT 10";

pub(crate) fn run(wanted: &Wanted) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (node, _) = open(directory.path(), &wanted.project, &runtime);
    let address = runtime.block_on(async {
        let server = chalk_serve::PgServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = server.address();
        tokio::spawn(server.run(node.app(), std::future::pending()));
        address
    });
    let workload = Workload::new(SUBMISSIONS + RATE * wanted.seconds);
    let (before, meanwhile) = workload.lines.split_at(workload.lines.len() - (RATE * wanted.seconds) as usize);
    let (sender, waiting) = waiter(node.pipeline.subscribe(), 1 << 20);
    let submit = |lines: &[String]| {
        let submitted = node.door.submit("bench", lines.join("\n").as_bytes()).unwrap();
        sender.send(InFlight { submitted, at: Instant::now(), events: lines.len() as u64 }).unwrap();
    };
    before.chunks(500).for_each(submit);
    runtime.block_on(node.pipeline.caught_up()).unwrap();
    println!("queries: {SQL}\n  the clients run in this process, on the same cores; each row of the answer is read");
    for clients in [1, 8] {
        let (rate, times) = ask(&runtime, address, clients, Duration::from_secs(5), None);
        println!(
            "  idle, {clients} connections: {rate:.0}/s, p50 {}, p99 {}",
            ms(quantile(&times, 500)),
            ms(quantile(&times, 990))
        );
    }
    let ingesting = Arc::new(AtomicBool::new(true));
    let at_most = Duration::from_secs(wanted.seconds * 10);
    let (rate, times) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&runtime, address, 8, at_most, Some(&ingesting)));
        let began = Instant::now();
        for (tick, lines) in meanwhile.chunks(RATE as usize / 100).enumerate() {
            let due = began + Duration::from_millis(tick as u64 * 10);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            submit(lines);
        }
        ingesting.store(false, Ordering::Relaxed);
        asking.join().unwrap()
    });
    println!(
        "  while {RATE} submissions/s come in, 8 connections: {rate:.0}/s, p50 {}, p99 {}",
        ms(quantile(&times, 500)),
        ms(quantile(&times, 990))
    );
    drop(sender);
    waiting.join().unwrap();
    node.pipeline.stop();
}

/// Asks as fast as answers come, for a time or as long as a flag is up; gives queries a second and each one's time, sorted.
fn ask(
    runtime: &tokio::runtime::Runtime,
    address: SocketAddr,
    clients: usize,
    time: Duration,
    flag: Option<&Arc<AtomicBool>>,
) -> (f64, Vec<Duration>) {
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let flag = flag.cloned();
            runtime.spawn(async move {
                let config = format!("host={} port={} user=bench dbname=chalk", address.ip(), address.port());
                let (connection, pump) = tokio_postgres::connect(&config, NoTls).await.unwrap();
                tokio::spawn(pump);
                let classes = connection.query("SELECT DISTINCT class_id FROM class_leaderboard", &[]).await.unwrap();
                let classes: Vec<String> = classes.iter().map(|row| row.get(0)).collect();
                assert!(!classes.is_empty(), "nobody is on the board");
                let statement = connection.prepare(SQL).await.unwrap();
                let mut times = Vec::new();
                let goes_on =
                    || flag.as_ref().is_none_or(|flag| flag.load(Ordering::Relaxed)) && began.elapsed() < time;
                for turn in client.. {
                    if !goes_on() {
                        break;
                    }
                    let asked = Instant::now();
                    let rows = connection.query(&statement, &[&classes[turn * 7919 % classes.len()]]).await.unwrap();
                    times.push(asked.elapsed());
                    assert!(!rows.is_empty(), "a class without pupils");
                }
                times
            })
        })
        .collect();
    let mut times: Vec<Duration> = Vec::new();
    for task in tasks {
        times.extend(runtime.block_on(task).unwrap());
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    (rate, times)
}
