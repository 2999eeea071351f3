//! Checkpoints in another place: a start that has lost its own takes one from there, and everything is as if it had not.

use crate::program::{ASK_EVERY, Client, Folder, PATIENCE, Server};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;

const RUN: [&str; 5] = ["run", "--data", "data", "--checkpoint-interval-ms", "50"];

/// A folder whose checkpoints are kept in `place`, too, with a server on it.
fn served(place: &str) -> (Folder, Server) {
    let folder = Folder::of_homework();
    std::fs::create_dir(folder.path("data")).expect("a folder");
    let told = folder.chalk(&["checkpoint", "keep-in", place, "--data", "data"]).done();
    assert_eq!(told, format!("checkpoints are kept: here and in {place} (from the next start on)\n"));
    let server = folder.serve(&RUN);
    (folder, server)
}

fn append(folder: &Folder, client: &Client, seed: u64) {
    let generate = ["generate", "homework", "--events", "1500", "--seed", &seed.to_string()];
    folder.write("events.json", folder.chalk(&generate).out);
    let appended = folder.chalk_reading(&["append", "--data", "data"], "events.json");
    assert!(appended.out.contains("accepted"), "{}{}", appended.out, appended.err);
    client.caught_up();
}

fn checkpoint(client: &Client) -> Value {
    client.status()["pipeline"]["checkpoint"].clone()
}

/// Waits for something that the status says of checkpoints.
fn until(client: &Client, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let checkpoint = checkpoint(client);
        if is_so(&checkpoint) {
            return checkpoint;
        }
        assert!(began.elapsed() < PATIENCE, "it never comes: {checkpoint}");
        std::thread::sleep(ASK_EVERY);
    }
}

/// Stops the server, which leaves a checkpoint of everything, and starts it again; waits until that is copied.
fn copied(folder: &Folder, server: Server) -> Server {
    assert_eq!(server.stop().0, Some(0));
    let server = folder.serve(&RUN);
    until(&server.client, |at| at["upto"].as_u64() > Some(0) && at["copies"]["upto"] == at["upto"]);
    server.client.caught_up();
    server
}

fn list(folder: &Folder) -> Value {
    let listed = folder.chalk(&["checkpoint", "list", "--data", "data", "-f", "json"]).done();
    serde_json::from_str(listed.trim()).expect("JSON")
}

/// The last commit that the newest copy knows, by what a killed server has left.
fn newest_copy(folder: &Folder) -> u64 {
    list(folder)["copies"]["checkpoints"][0]["upto"].as_u64().expect("a copy")
}

/// As if the disk had lost them.
fn lose_checkpoints(folder: &Folder) {
    std::fs::remove_dir_all(folder.path("data/checkpoints")).expect("a folder");
}

fn boards(client: &Client) -> Vec<Vec<String>> {
    let of = |table| {
        let mut rows: Vec<String> =
            client.query(&format!("SELECT * FROM {table}")).lines().map(str::to_owned).collect();
        rows.sort_unstable();
        rows
    };
    ["class_leaderboard", "completion", "item_difficulty", "streaks", "late_rows"].map(of).into()
}

fn files(folder: &Folder, place: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path(place)).expect("a folder").flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(end));
    files.sort();
    files
}

#[test]
fn a_start_that_has_lost_its_checkpoints_takes_a_copy() {
    let (folder, mut server) = served("elsewhere");
    for seed in [1, 2] {
        append(&folder, &server.client, seed);
        server = copied(&folder, server);
    }
    server.kill();
    assert!(files(&folder, "elsewhere", ".manifest").len() > 1);
    let table = || folder.chalk(&["checkpoint", "list", "--data", "data"]).done();
    assert!(table().contains(&format!("copies in {}:\n", folder.path("elsewhere").display())));

    // With its own checkpoints, and with copies alone, it goes on where they end, and shows the same.
    let own = list(&folder)["upto"].as_u64();
    let server = folder.serve(&RUN);
    let at = checkpoint(&server.client);
    assert_eq!((at["started_after"].as_u64(), &at["copies"]["started"]), (own, &Value::Bool(false)), "{at}");
    server.client.caught_up();
    let before = boards(&server.client);
    server.kill();
    lose_checkpoints(&folder);
    assert!(table().starts_with("there is none: a start takes a copy\n"));
    let copy = newest_copy(&folder);
    let server = folder.serve(&RUN);
    let at = checkpoint(&server.client);
    assert_eq!((at["started_after"].as_u64(), &at["copies"]["started"]), (Some(copy), &Value::Bool(true)), "{at}");
    server.client.caught_up();
    assert_eq!(boards(&server.client), before);
    // It goes on as usual.
    append(&folder, &server.client, 3);
    let server = copied(&folder, server);
    assert_ne!(boards(&server.client), before);
    assert_eq!(server.stop().0, Some(0));
    let verified = folder.chalk(&["replay", "--data", "data", "--verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
}

#[test]
fn damaged_copies_are_not_taken_and_what_is_left_gives_the_same() {
    let (folder, mut server) = served("elsewhere");
    for seed in 1..=3 {
        append(&folder, &server.client, seed);
        server = copied(&folder, server);
    }
    let before = boards(&server.client);
    server.kill();
    let damage = |path: &PathBuf| {
        let mut bytes = std::fs::read(path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).expect("a file");
    };
    let manifests = files(&folder, "elsewhere", ".manifest");
    damage(manifests.last().expect("a copy"));
    lose_checkpoints(&folder);
    let server = folder.serve(&RUN);
    let at = checkpoint(&server.client);
    let earlier = manifests[manifests.len() - 2].file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
    assert_eq!(at["started_after"].as_u64(), earlier, "{at}");
    assert!(at["discarded"].as_str().is_some_and(|why| why.contains("its checksum does not match")), "{at}");
    server.client.caught_up();
    assert_eq!(boards(&server.client), before);
    server.kill();

    files(&folder, "elsewhere", ".part").iter().for_each(damage);
    lose_checkpoints(&folder);
    let server = folder.serve(&RUN);
    let at = checkpoint(&server.client);
    assert_eq!((at["started_after"].as_u64(), &at["copies"]["started"]), (Some(0), &Value::Bool(false)), "{at}");
    assert!(at["discarded"].as_str().is_some_and(|why| why.contains("its hash does not match")), "{at}");
    server.client.caught_up();
    assert_eq!(boards(&server.client), before);
    // What could not be used is put again.
    copied(&folder, server).kill();
    lose_checkpoints(&folder);
    let server = folder.serve(&RUN);
    assert!(checkpoint(&server.client)["started_after"].as_u64() > Some(0));
    assert_eq!(boards(&server.client), before);
}

#[test]
fn a_place_that_cannot_be_written_to_holds_nothing_up() {
    let folder = Folder::of_homework();
    std::fs::create_dir(folder.path("data")).expect("a folder");
    folder.chalk(&["checkpoint", "keep-in", "elsewhere", "--data", "data"]).done();
    folder.write("elsewhere", "no directory");
    let server = folder.serve(&RUN);
    append(&folder, &server.client, 1);
    let at = until(&server.client, |at| at["copies"]["failed"].is_string() && at["upto"].as_u64() > Some(0));
    assert!(at["copies"]["upto"].is_null() && at["failed"].is_null(), "{at}");
    let told = folder.chalk(&["status", "--data", "data"]).done();
    assert!(told.contains("; the next copy waits: cannot "), "{told}");
    let refused = folder.chalk(&["checkpoint", "keep-in", "elsewhere", "--data", "data"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    std::fs::remove_file(folder.path("elsewhere")).expect("a file");
    until(&server.client, |at| at["copies"]["upto"].is_u64() && at["copies"]["failed"].is_null());
    assert!(!folder.chalk(&["status", "--data", "data"]).done().contains("the next copy waits"));
}

#[test]
fn another_directorys_place_is_left_alone() {
    let (folder, server) = served("elsewhere");
    append(&folder, &server.client, 1);
    copied(&folder, server).stop();
    let before = files(&folder, "elsewhere", "");
    let place = folder.path("elsewhere").display().to_string();
    let (other, server) = served(&place);
    append(&other, &server.client, 2);
    let at = until(&server.client, |at| at["copies"]["failed"].is_string());
    let why = at["copies"]["failed"].as_str().expect("a reason");
    assert!(why.contains("keep the copies elsewhere, or empty the place"), "{why}");
    server.stop();
    assert_eq!(files(&folder, "elsewhere", ""), before);
}
