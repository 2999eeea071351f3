//! Appends beside what does less: a bare writer of an Arrow IPC file, and a loop that writes and syncs a mebibyte at a time.

use crate::Wanted;
use crate::log::{answers, append_of, notes, open, options, topic_rows};
use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use chalk_catalog::TopicDef;
use chalk_log::{CommitLog, EventLog, Pending};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

/// Rows of about 600 bytes in an append.
const ROWS: usize = 500;
/// Different appends; they go round.
const BATCHES: usize = 128;
/// Appends of a round.
const APPENDS: u64 = 2_000;
/// What the loop writes in a round.
const MIB: u64 = 256;
const ROUNDS: usize = 5;
/// Appends that wait for their answer at most.
const IN_FLIGHT: usize = 256;

pub(crate) fn run(wanted: &Wanted) {
    let appends = wanted.events.unwrap_or(APPENDS) as usize;
    println!("log-append: {appends} appends of {ROWS} rows of 600 bytes, in turns; medians of {ROUNDS}");
    for (name, text) in [("answers", answers as fn(i64) -> String), ("text that LZ4 makes nothing of", random)] {
        let directory = tempfile::tempdir().unwrap();
        let (log, _) = open(directory.path(), options());
        let topic = notes(&log);
        let batches: Vec<RecordBatch> =
            (0..BATCHES).map(|batch| topic_rows(&topic, (batch * ROWS) as i64, ROWS, text)).collect();
        let (mut bare, mut logged, mut raw, mut durable) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(ipc(directory.path(), &batches, appends));
            let before = log.size().bytes;
            let (rate, seconds) = append_all(&log, &topic, &batches, appends);
            logged.push(rate);
            durable.push((log.size().bytes - before) as f64 / seconds);
            raw.push(write_and_sync(directory.path()));
        }
        let [bare, logged, raw, durable] = [bare, logged, raw, durable].map(median);
        println!(
            "  {name}: {:.0} MB/s of rows; {:.2} of the bare writer's {:.0}",
            logged / 1e6,
            logged / bare,
            bare / 1e6
        );
        println!(
            "    {:.0} MB/s on the disk; {:.2} of the {:.0} of a loop of 1 MiB and fdatasync",
            durable / 1e6,
            durable / raw,
            raw / 1e6
        );
    }
}

/// Six hundred letters without a pattern.
fn random(n: i64) -> String {
    let mut state = n as u64;
    let mut letter = || {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        char::from(b'0' + ((z ^ (z >> 31)) % 64) as u8)
    };
    (0..600).map(|_| letter()).collect()
}

fn bytes(batches: &[RecordBatch], appends: usize) -> f64 {
    batches.iter().cycle().take(appends).map(RecordBatch::get_array_memory_size).sum::<usize>() as f64
}

/// Bytes of rows a second of a bare writer, which syncs once, at its end.
fn ipc(directory: &Path, batches: &[RecordBatch], appends: usize) -> f64 {
    let path = directory.join("bare.arrow");
    let began = Instant::now();
    let compression = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let file = File::create(&path).unwrap();
    let mut writer = FileWriter::try_new_with_options(file, &batches[0].schema(), compression).unwrap();
    for batch in batches.iter().cycle().take(appends) {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.get_ref().sync_data().unwrap();
    let rate = bytes(batches, appends) / began.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    rate
}

/// Bytes of rows a second that one thread appends, each acknowledged; and how long it took.
fn append_all(log: &CommitLog, topic: &TopicDef, batches: &[RecordBatch], appends: usize) -> (f64, f64) {
    let (sent, waiting) = sync_channel::<Pending>(IN_FLIGHT);
    let waiter = std::thread::spawn(move || waiting.iter().for_each(|pending| drop(pending.wait().unwrap())));
    let began = Instant::now();
    for (n, rows) in batches.iter().cycle().take(appends).enumerate() {
        sent.send(log.append(append_of(topic, n as i64, rows.clone())).unwrap()).unwrap();
    }
    drop(sent);
    waiter.join().unwrap();
    let seconds = began.elapsed().as_secs_f64();
    (bytes(batches, appends) / seconds, seconds)
}

/// Bytes a second of a loop that writes and syncs.
fn write_and_sync(directory: &Path) -> f64 {
    let path = directory.join("raw");
    let mut file = File::create(&path).unwrap();
    file.flush().unwrap();
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let began = Instant::now();
    for block_number in 0..MIB {
        file.write_all_at(&block, block_number << 20).unwrap();
        file.sync_data().unwrap();
    }
    let rate = (MIB << 20) as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    rate
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
