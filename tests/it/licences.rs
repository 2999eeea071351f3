//! What the binary is built from may be used, and stands in it once.
//!
//! Cargo's dependency graph is a little wider than what is compiled: it holds the optional dependencies that a feature names
//! weakly (`pyo3?/num-bigint`). They are judged like the rest.

use crate::workspace::{Package, Packages};
use std::collections::{BTreeMap, BTreeSet};

/// Licences, by their SPDX names, that ask for no more than a notice, or (MPL) for changes to the library's own files.
const ALLOWED: [&str; 17] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// An older version that stands beside a newer one of the same crate.
struct Tolerated {
    name: &'static str,
    /// `0.10` or `2`: versions that Cargo takes for compatible.
    line: &'static str,
    /// Who depends on it.
    pulled_by: &'static str,
    /// How it comes here.
    reason: &'static str,
}

const TOLERATED: [Tolerated; 21] = [
    Tolerated { name: "base64", line: "0.22", pulled_by: "postgres-protocol", reason: "PostgreSQL's types" },
    Tolerated { name: "block-buffer", line: "0.10", pulled_by: "digest", reason: "with digest 0.10" },
    Tolerated { name: "crypto-common", line: "0.1", pulled_by: "digest", reason: "with digest 0.10" },
    Tolerated { name: "digest", line: "0.10", pulled_by: "blake2", reason: "DataFusion's digest functions" },
    Tolerated { name: "foldhash", line: "0.1", pulled_by: "hashbrown", reason: "with hashbrown 0.15" },
    Tolerated { name: "getrandom", line: "0.2", pulled_by: "const-random-macro", reason: "ahash, off: never compiled" },
    Tolerated { name: "getrandom", line: "0.3", pulled_by: "ahash", reason: "Arrow's hash maps" },
    Tolerated { name: "hashbrown", line: "0.14", pulled_by: "dashmap", reason: "DataFusion's catalogue" },
    Tolerated { name: "hashbrown", line: "0.15", pulled_by: "petgraph", reason: "DataFusion's physical expressions" },
    Tolerated { name: "itertools", line: "0.14", pulled_by: "object_store", reason: "DataFusion takes 0.15" },
    Tolerated { name: "num-bigint", line: "0.4", pulled_by: "jiter", reason: "DataFusion's JSON functions" },
    Tolerated { name: "phf", line: "0.12", pulled_by: "chrono-tz", reason: "PostgreSQL's types take the other" },
    Tolerated { name: "phf_shared", line: "0.12", pulled_by: "phf", reason: "with phf 0.12" },
    Tolerated {
        name: "rand",
        line: "0.8",
        pulled_by: "rust_decimal",
        reason: "a weak feature of decimals: never compiled",
    },
    Tolerated { name: "rand", line: "0.9", pulled_by: "datafusion-execution", reason: "pgwire takes 0.10" },
    Tolerated { name: "rand_chacha", line: "0.3", pulled_by: "rand", reason: "with rand 0.8" },
    Tolerated { name: "rand_core", line: "0.6", pulled_by: "rand", reason: "with rand 0.8" },
    Tolerated { name: "rand_core", line: "0.9", pulled_by: "rand", reason: "with rand 0.9" },
    Tolerated { name: "syn", line: "2", pulled_by: "sqlparser_derive", reason: "derives that have not moved to 3" },
    Tolerated { name: "zstd", line: "0.13", pulled_by: "parquet", reason: "parquet's writer takes the other" },
    Tolerated { name: "zstd-safe", line: "7", pulled_by: "zstd", reason: "with zstd 0.13" },
];

#[test]
fn every_licence_is_allowed() {
    let packages = Packages::read();
    let built: Vec<&Package> = packages.built().into_iter().map(|id| &packages.by_id[id]).collect();
    assert!(built.len() > packages.members.len(), "the graph of dependencies is empty");
    assert_eq!(refused(&built), [""; 0]);
}

#[test]
fn crates_stand_in_one_version_but_for_a_known_few() {
    assert_eq!(unexpected_versions(Packages::read(), &TOLERATED), [""; 0]);
}

fn refused(packages: &[&Package]) -> Vec<String> {
    let complaint = |package: &&Package| {
        let Package { name, version, licence, .. } = package;
        match licence.as_deref().map(|text| (text, is_allowed(text))) {
            Some((_, Some(true))) => None,
            Some((text, Some(false))) => Some(format!("{name} {version}: licence {text} is not allowed")),
            Some((text, None)) => Some(format!("{name} {version}: licence {text} is not understood")),
            None => Some(format!("{name} {version}: its Cargo.toml names no licence")),
        }
    };
    packages.iter().filter_map(complaint).collect()
}

/// Whether an SPDX expression leaves a choice that is allowed; `None` when it is not one. `/` is the old spelling of `OR`.
fn is_allowed(expression: &str) -> Option<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any(&mut rest)?;
    rest.is_empty().then_some(allowed)
}

/// `all OR all …`
fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = all(rest)?;
    while take(rest, "OR") {
        allowed |= all(rest)?;
    }
    Some(allowed)
}

/// `one AND one …`
fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(rest)?;
    while take(rest, "AND") {
        allowed &= one(rest)?;
    }
    Some(allowed)
}

/// `( any )`, `licence`, or `licence WITH exception`; a `+` after it (this or a later version) grants the version itself.
fn one(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let allowed = any(rest)?;
        return take(rest, ")").then_some(allowed);
    }
    let mut name = next(rest)?.trim_end_matches('+').to_owned();
    if take(rest, "WITH") {
        name = format!("{name} WITH {}", next(rest)?);
    }
    Some(ALLOWED.contains(&name.as_str()))
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let is_next = rest.first() == Some(&word);
    *rest = &rest[usize::from(is_next)..];
    is_next
}

fn next<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (word, after) = rest.split_first()?;
    *rest = after;
    (!["(", ")", "AND", "OR", "WITH"].contains(word)).then_some(word)
}

/// Older versions that nobody tolerates, and tolerance that nobody needs.
fn unexpected_versions(packages: &Packages, tolerated: &[Tolerated]) -> Vec<String> {
    let built = packages.built();
    let mut versions: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for id in &built {
        let package = &packages.by_id[*id];
        versions.entry(&package.name).or_default().push((&package.version, id));
    }
    let mut unused: Vec<&Tolerated> = tolerated.iter().collect();
    let mut complaints = Vec::new();
    for (name, mut versions) in versions {
        versions.sort_by_key(|(version, _)| numbers(version));
        versions.pop();
        for (version, id) in versions {
            let depends = |from: &&&str| packages.by_id[**from].uses.iter().any(|used| used == id);
            let pullers: BTreeSet<&str> =
                built.iter().filter(depends).map(|from| packages.by_id[*from].name.as_str()).collect();
            let is_this = |entry: &&Tolerated| {
                entry.name == name && entry.line == line_of(version) && pullers.contains(entry.pulled_by)
            };
            match unused.iter().position(is_this) {
                Some(index) => drop(unused.swap_remove(index)),
                None => {
                    let pullers: Vec<&str> = pullers.into_iter().collect();
                    complaints.push(format!("{name} {version} beside a newer one, for {}", pullers.join(", ")));
                }
            }
        }
    }
    let stale = unused.into_iter().map(|Tolerated { name, line, pulled_by, reason }| {
        format!("{name} {line} for {pulled_by} ({reason}) is tolerated, but is no longer a second version")
    });
    complaints.extend(stale);
    complaints
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect()
}

/// The numbers up to the first that is not 0.
fn line_of(version: &str) -> String {
    let numbers = numbers(version);
    let end = numbers.iter().position(|&number| number != 0).map_or(numbers.len(), |first| first + 1);
    numbers[..end].iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

mod planted {
    use super::*;

    #[test]
    fn a_licence_that_asks_too_much_is_found() {
        let package = |name: &str, licence: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            ..Package::default()
        };
        let good = [
            "MIT",
            "MIT/Apache-2.0",
            "MPL-2.0+",
            "GPL-3.0-only OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-2.0-only AND MIT OR Apache-2.0",
        ];
        let bad = [
            ("GPL-3.0-only", "is not allowed"),
            ("MIT AND GPL-3.0-or-later", "is not allowed"),
            ("MIT AND (GPL-2.0 OR AGPL-3.0)", "is not allowed"),
            ("Apache-2.0 WITH Other-exception", "is not allowed"),
            ("MIT OR", "is not understood"),
            ("(MIT", "is not understood"),
            ("MIT Apache-2.0", "is not understood"),
            ("", "is not understood"),
        ];
        for licence in good {
            assert_eq!(refused(&[&package("good", Some(licence))]), [""; 0]);
        }
        for (licence, verdict) in bad {
            let expected = format!("bad 1.0.0: licence {licence} {verdict}");
            assert_eq!(refused(&[&package("bad", Some(licence))]), [expected]);
        }
        assert_eq!(refused(&[&package("none", None)]), ["none 1.0.0: its Cargo.toml names no licence"]);
    }

    #[test]
    fn a_second_version_and_a_stale_entry_are_found() {
        let package = |id: &str, uses: &[&str]| {
            let (name, version) = id.split_once(' ').expect("an id here is a name and a version");
            let uses = uses.iter().map(|id| (*id).to_owned()).collect();
            (id.to_owned(), Package { name: name.to_owned(), version: version.to_owned(), uses, ..Package::default() })
        };
        let packages = Packages {
            by_id: BTreeMap::from([
                package("chalk 1.0.0", &["old 1.0.0", "syn 3.0.9", "rand 0.10.1"]),
                package("old 1.0.0", &["syn 2.0.119", "rand 0.9.4"]),
                package("syn 2.0.119", &[]),
                package("syn 3.0.9", &[]),
                package("rand 0.9.4", &[]),
                package("rand 0.10.1", &[]),
                package("rand 0.8.0", &[]),
            ]),
            members: vec!["chalk 1.0.0".to_owned()],
        };
        let tolerated = [
            Tolerated { name: "syn", line: "2", pulled_by: "old", reason: "true" },
            Tolerated { name: "rand", line: "0.8", pulled_by: "old", reason: "not built" },
        ];
        assert_eq!(
            unexpected_versions(&packages, &tolerated),
            [
                "rand 0.9.4 beside a newer one, for old",
                "rand 0.8 for old (not built) is tolerated, but is no longer a second version",
            ]
        );
    }
}
