//! The two workspaces agree: the graders that are linked natively resolve to the versions that the loadable ones are built with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What the grading library depends on, whose versions decide what a grader answers.
const SHARED: [&str; 3] = ["unicode-normalization", "serde", "serde_json"];

/// Versions by package name in a lock file.
fn versions(lock: &str) -> BTreeMap<String, Vec<String>> {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches(['"', ' ', '=']).to_owned());
    let mut name = None;
    for line in lock.lines() {
        if let Some(found) = value(line, "name = ") {
            name = Some(found);
        } else if let (Some(version), Some(name)) = (value(line, "version = "), name.take()) {
            versions.entry(name).or_default().push(version);
        }
    }
    versions
}

/// The packages of `SHARED` that differ.
fn differences(native: &str, loaded: &str) -> Vec<&'static str> {
    let (native, loaded) = (versions(native), versions(loaded));
    SHARED.into_iter().filter(|name| native.get(*name) != loaded.get(*name)).collect()
}

#[test]
fn native_and_loadable_graders_use_the_same_versions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a lock file");
    assert_eq!(differences(&read("Cargo.lock"), &read("udfs/Cargo.lock")), [""; 0]);
}

#[test]
fn a_difference_is_found() {
    let lock = |version: &str| format!("[[package]]\nname = \"serde\"\nversion = \"{version}\"\n");
    assert_eq!(differences(&lock("1.0.1"), &lock("1.0.2")), ["serde"]);
}
