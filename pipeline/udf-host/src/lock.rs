//! What a `Cargo.lock` says of the packages that a function is built with.

//!
//! Cargo writes it in one way, line by line, and is read in that way alone: a start hashes the functions that are linked natively, and
//! should not wait for a reader of all of TOML.

use std::collections::BTreeSet;

/// A package of a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its checksum, or where it comes from when that has none; `None` for one that lies beside the lock file.
    pub(crate) content: Option<String>,
    /// As they stand there: a name, and a version where there is more than one.
    dependencies: Vec<String>,
}

/// A lock file, read.
#[derive(Clone, Debug)]
pub(crate) struct Lock(Vec<Locked>);

impl Lock {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut packages = Vec::<Locked>::new();
        let mut in_dependencies = false;
        for (number, line) in text.lines().enumerate() {
            if line == "[[package]]" {
                packages.push(Locked::default());
            }
            let Some(package) = packages.last_mut() else { continue };
            if let Some(list) = line.strip_prefix("dependencies = [") {
                in_dependencies = true;
                package.dependencies.extend(quoted(list));
            } else if in_dependencies {
                package.dependencies.extend(quoted(line));
            }
            in_dependencies &= !line.ends_with(']');
            let Some((key, value)) = line.split_once(" = ") else { continue };
            let text = || quoted(value).next().ok_or_else(|| format!("line {}: '{key}' has no text", number + 1));
            match key {
                "name" => package.name = text()?,
                "version" => package.version = text()?,
                "checksum" => package.content = Some(text()?),
                "source" if package.content.is_none() => package.content = Some(text()?),
                _ => {}
            }
        }
        match packages.iter().find(|package| package.name.is_empty() || package.version.is_empty()) {
            None => Ok(Self(packages)),
            Some(package) => Err(format!("a package has no name or version: '{}' '{}'", package.name, package.version)),
        }
    }

    /// All packages that `root` is built with and `enters` lets in, and those that these are built with; `None` without such a
    /// root.
    pub(crate) fn closure(&self, root: &str, enters: impl Fn(&str) -> bool) -> Option<BTreeSet<&Locked>> {
        let root = self.0.iter().find(|package| package.name == root && package.content.is_none())?;
        let mut found = BTreeSet::new();
        let mut next: Vec<&Locked> = self.dependencies(root).filter(|package| enters(&package.name)).collect();
        while let Some(package) = next.pop() {
            if found.insert(package) {
                next.extend(self.dependencies(package));
            }
        }
        Some(found)
    }

    fn dependencies<'l>(&'l self, of: &'l Locked) -> impl Iterator<Item = &'l Locked> {
        of.dependencies.iter().filter_map(|dependency| {
            let mut words = dependency.split(' ');
            let (name, version) = (words.next()?, words.next());
            self.0
                .iter()
                .find(|package| package.name == name && version.is_none_or(|version| package.version == version))
        })
    }
}

/// The texts in quotes on a line.
fn quoted(line: &str) -> impl Iterator<Item = String> {
    line.split('"').skip(1).step_by(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "udf-f"
version = "0.1.0"
dependencies = ["arroyo-udf-plugin", "near 2.0.0"]
[[package]]
name = "arroyo-udf-plugin"
version = "0.2.0"
checksum = "a"
dependencies = ["arrow"]
[[package]]
name = "arrow"
version = "51.0.0"
checksum = "b"
[[package]]
name = "near"
version = "1.0.0"
checksum = "c"
[[package]]
name = "near"
version = "2.0.0"
checksum = "d"
dependencies = ["far"]
[[package]]
name = "far"
version = "3.0.0"
source = "git+https://example.org/far#1"
dependencies = ["near 2.0.0"]
"#;

    #[test]
    fn the_closure_is_followed_by_version() {
        let lock = Lock::read(LOCK).expect("a lock file");
        let closure = lock.closure("udf-f", |name| name != "arroyo-udf-plugin").expect("a root");
        let shown: Vec<String> = closure
            .into_iter()
            .map(|package| {
                format!("{} {} {}", package.name, package.version, package.content.as_deref().unwrap_or("-"))
            })
            .collect();
        assert_eq!(shown, ["far 3.0.0 git+https://example.org/far#1", "near 2.0.0 d"]);
        assert!(lock.closure("udf-g", |_| true).is_none());
    }
}
