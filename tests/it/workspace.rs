//! The project as its checks see it: its folder, and what Cargo says about its packages.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The folder that everything is in.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a folder of the project")
}

/// The text of a file, by its path below the root.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A package in the lock file, of this platform. Development dependencies do not count anywhere here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    /// Its folder below the root, if the package is the project's own.
    pub(crate) folder: Option<String>,
    /// Folders of the project's own packages that its `Cargo.toml` names, whether a feature turns them on or not.
    pub(crate) declares: BTreeSet<String>,
    /// Ids of the packages that it is built from.
    pub(crate) uses: Vec<String>,
}

/// All packages, by Cargo's id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packages {
    pub(crate) by_id: BTreeMap<String, Package>,
    pub(crate) members: Vec<String>,
}

impl Packages {
    /// The workspace as it is.
    pub(crate) fn read() -> &'static Self {
        static PACKAGES: LazyLock<Packages> = LazyLock::new(|| Packages::from_metadata(&cargo_metadata()));
        &PACKAGES
    }

    /// Ids of the members of the workspace and all that they are built from.
    pub(crate) fn built(&self) -> BTreeSet<&str> {
        let mut built = BTreeSet::new();
        let mut next: Vec<&str> = self.members.iter().map(String::as_str).collect();
        while let Some(id) = next.pop() {
            if built.insert(id) {
                next.extend(self.by_id[id].uses.iter().map(String::as_str));
            }
        }
        built
    }

    /// The shortest way from a package to one that is `wanted`, over no more than `steps` dependencies: the names on it.
    pub(crate) fn way(&self, from: &str, steps: usize, wanted: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
        let mut seen = BTreeSet::from([from]);
        let mut next = VecDeque::from([vec![from]]);
        while let Some(way) = next.pop_front() {
            let last = &self.by_id[*way.last()?];
            if way.len() > 1 && wanted(&last.name) {
                return Some(way.iter().map(|id| self.by_id[*id].name.as_str()).collect());
            }
            if way.len() <= steps {
                let unseen = last.uses.iter().map(String::as_str).filter(|id| seen.insert(id));
                next.extend(unseen.map(|id| [way.as_slice(), &[id]].concat()));
            }
        }
        None
    }

    fn from_metadata(metadata: &Value) -> Self {
        let packages = list(&metadata["packages"]).map(|package| {
            let declared = list(&package["dependencies"]).filter(|dependency| dependency["kind"] != "dev");
            let package_of = Package {
                name: text(&package["name"]),
                version: text(&package["version"]),
                licence: package["license"].as_str().map(str::to_owned),
                folder: package["source"].is_null().then(|| folder_of(&package["manifest_path"])),
                declares: declared
                    .filter_map(|dependency| dependency["path"].as_str())
                    .map(|path| below_root(Path::new(path)))
                    .collect(),
                uses: Vec::new(),
            };
            (text(&package["id"]), package_of)
        });
        let mut by_id: BTreeMap<String, Package> = packages.collect();
        for node in list(&metadata["resolve"]["nodes"]) {
            let is_built = |dependency: &&Value| list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev");
            let uses = list(&node["deps"]).filter(is_built).map(|dependency| text(&dependency["pkg"])).collect();
            by_id.entry(text(&node["id"])).or_default().uses = uses;
        }
        Self { by_id, members: list(&metadata["workspace_members"]).map(text).collect() }
    }
}

/// For this platform only: what others need has not been fetched, and nothing is fetched here.
fn cargo_metadata() -> Value {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo -vV names the host");
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host];
    serde_json::from_str(&cargo(&arguments)).expect("cargo metadata is JSON")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn folder_of(manifest: &Value) -> String {
    let manifest = PathBuf::from(text(manifest));
    below_root(manifest.parent().expect("a manifest is in a folder"))
}

fn below_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
