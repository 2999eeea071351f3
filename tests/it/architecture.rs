//! `ARCHITECTURE.md` is true: what it names exists, and crates know each other only as its table says.

use crate::workspace::{Packages, read, root};
use std::collections::{BTreeMap, BTreeSet};

/// What a row of the table grants.
#[derive(Debug, PartialEq, Eq)]
enum MayUse {
    Everything,
    Only(BTreeSet<String>),
}

/// How far a crate must keep away from another.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// Not even through what it depends on.
    Far,
    /// Not in its own `Cargo.toml`; DataFusion brings tokio with it.
    Near,
}

/// The part of the "must not know" column that Cargo can tell: `(crate, outside crate, reach)`.
const MUST_NOT_KNOW: [(&str, &str, Reach); 14] = [
    ("event", "tokio", Reach::Far),
    ("event", "datafusion", Reach::Far),
    ("store", "datafusion", Reach::Far),
    ("catalog", "tokio", Reach::Far),
    ("catalog", "datafusion", Reach::Far),
    ("log", "datafusion", Reach::Far),
    ("codec", "tokio", Reach::Far),
    ("codec", "datafusion", Reach::Far),
    ("ingest", "datafusion", Reach::Far),
    ("view", "datafusion", Reach::Far),
    ("graph", "tokio", Reach::Near),
    ("plan", "tokio", Reach::Near),
    ("operators", "tokio", Reach::Near),
    ("homework", "arrow", Reach::Far),
];

#[test]
fn every_path_on_the_map_exists() {
    let map = read("ARCHITECTURE.md");
    let paths = named_paths(&map);
    assert!(!paths.is_empty(), "ARCHITECTURE.md names no paths in backticks");
    assert_eq!(missing(&paths), [""; 0], "ARCHITECTURE.md names what is not there");
}

#[test]
fn crates_depend_on_each_other_as_the_table_says() {
    let declared: BTreeMap<String, BTreeSet<String>> = Packages::read()
        .by_id
        .values()
        .filter_map(|package| {
            let folder = crate_of(package.folder.as_ref()?);
            Some((folder, package.declares.iter().map(|folder| crate_of(folder)).collect()))
        })
        .collect();
    assert_eq!(breaches(&table(&read("ARCHITECTURE.md")), &declared), [""; 0]);
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    assert_eq!(acquaintances(Packages::read(), &MUST_NOT_KNOW), [""; 0]);
}

/// Words in backticks that are paths: with a slash, or with the ending of a file. Blocks of code do not count.
fn named_paths(text: &str) -> BTreeSet<&str> {
    const ENDINGS: [&str; 6] = [".rs", ".md", ".toml", ".lock", ".sql", ".avsc"];
    let is_path = |span: &&str| {
        !span.contains(char::is_whitespace) && (span.contains('/') || ENDINGS.iter().any(|end| span.ends_with(end)))
    };
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    });
    prose.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_path).collect()
}

fn missing(paths: &BTreeSet<&str>) -> Vec<String> {
    let is_missing = |path: &&&str| path.starts_with('/') || !root().join(path).exists();
    paths.iter().filter(is_missing).map(|path| (*path).to_owned()).collect()
}

/// A crate's name in the table: its folder, without `pipeline/`.
fn crate_of(folder: &str) -> String {
    folder.strip_prefix("pipeline/").unwrap_or(folder).to_owned()
}

/// Reads the table of crates: the one whose head is crate, owns, must not know, may use.
fn table(text: &str) -> BTreeMap<String, MayUse> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let quoted = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut lines = text.lines().skip_while(|line| cells(line) != ["crate", "owns", "must not know", "may use"]);
    lines.by_ref().take(2).for_each(drop);
    let rows = lines.take_while(|line| line.trim_start().starts_with('|')).map(cells);
    rows.map(|row| {
        let [name, .., may_use] = row.as_slice() else { panic!("a row of the table without cells: {row:?}") };
        let may_use = match may_use.as_str() {
            "everything" => MayUse::Everything,
            names => MayUse::Only(quoted(names).into_iter().collect()),
        };
        (quoted(name).concat(), may_use)
    })
    .collect()
}

fn breaches(table: &BTreeMap<String, MayUse>, declared: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, uses) in declared {
        match table.get(name) {
            None => breaches.push(format!("{name} is not in the table of ARCHITECTURE.md")),
            Some(MayUse::Everything) => {}
            Some(MayUse::Only(allowed)) => {
                let beyond = uses.difference(allowed);
                breaches.extend(beyond.map(|used| format!("{name} depends on {used}, which the table does not grant")));
            }
        }
    }
    let is_gone =
        |name: &&String| !declared.contains_key(*name) && missing(&BTreeSet::from([name.as_str()])).len() == 1;
    breaches
        .extend(table.keys().filter(is_gone).map(|name| format!("{name} is in the table, but there is no such crate")));
    breaches
}

fn acquaintances(packages: &Packages, rules: &[(&str, &str, Reach)]) -> Vec<String> {
    let complaint = |&(name, outside, reach): &(&str, &str, Reach)| {
        let is_it = |(_, package): &(&String, &crate::workspace::Package)| {
            package.folder.as_deref().is_some_and(|folder| crate_of(folder) == name)
        };
        let Some((id, _)) = packages.by_id.iter().find(is_it) else {
            return Some(format!("{name} has a rule in this test, but there is no such crate"));
        };
        let steps = match reach {
            Reach::Far => usize::MAX,
            Reach::Near => 1,
        };
        let way = packages.way(id, steps, |used| {
            used.strip_prefix(outside).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })?;
        Some(format!("{name} must not know {outside}: {}", way.join(" → ")))
    };
    rules.iter().filter_map(complaint).collect()
}

mod planted {
    use super::*;
    use crate::workspace::Package;

    const MAP: &str = "\
Code is in `pipeline/`, `no/such/folder/` and `gone.rs`; `EventLog`, `cargo test` and `/etc` are something else.

```text
`in/a/block.rs`
```

| crate | owns | must not know | may use |
|---|---|---|---|
| `event` | `tea` | `coffee` | – |
| `log` | logs | SQL | `event`, `store` |
| `cli` | wiring | – | everything |
| `ghost` | nothing | – | – |

| other | table |
|---|---|
| `view` | x |
";

    fn declared(crates: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        crates.iter().map(|(name, uses)| ((*name).to_owned(), names(uses))).collect()
    }

    #[test]
    fn a_path_that_is_not_there_is_found() {
        let paths = named_paths(MAP);
        assert_eq!(paths, BTreeSet::from(["/etc", "gone.rs", "no/such/folder/", "pipeline/"]));
        assert_eq!(missing(&paths), ["/etc", "gone.rs", "no/such/folder/"]);
    }

    #[test]
    fn a_dependency_beyond_the_table_is_found() {
        let declared =
            declared(&[("event", &[]), ("log", &["event", "plan"]), ("cli", &["log"]), ("view", &["event"])]);
        assert_eq!(
            breaches(&table(MAP), &declared),
            [
                "log depends on plan, which the table does not grant",
                "view is not in the table of ARCHITECTURE.md",
                "ghost is in the table, but there is no such crate",
            ]
        );
    }

    #[test]
    fn a_crate_that_knows_what_it_must_not_is_found() {
        let package = |name: &str, folder: Option<&str>, uses: &[&str]| {
            let package = Package {
                name: name.to_owned(),
                folder: folder.map(str::to_owned),
                uses: uses.iter().map(|id| (*id).to_owned()).collect(),
                ..Package::default()
            };
            (name.to_owned(), package)
        };
        let packages = Packages {
            by_id: BTreeMap::from([
                package("chalk-event", Some("pipeline/event"), &["arrow"]),
                package("chalk-graph", Some("pipeline/graph"), &["arrow", "tokio-util"]),
                package("arrow", None, &["tokio"]),
                package("tokio", None, &[]),
                package("tokio-util", None, &["tokio"]),
            ]),
            members: Vec::new(),
        };
        let rules = [
            ("event", "tokio", Reach::Far),
            ("event", "tokio", Reach::Near),
            ("graph", "tokio", Reach::Near),
            ("gone", "tokio", Reach::Near),
        ];
        assert_eq!(
            acquaintances(&packages, &rules),
            [
                "event must not know tokio: chalk-event → arrow → tokio",
                "graph must not know tokio: chalk-graph → tokio-util",
                "gone has a rule in this test, but there is no such crate",
            ]
        );
    }
}
