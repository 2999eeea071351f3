//! The list that a grader's identity is made from has every source file.

use std::fs;
use std::path::Path;

use chalk_grading::SOURCES;

fn files_under(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a file of sources").path();
        if path.is_dir() {
            files_under(&path, root, found);
        } else {
            let name = path.strip_prefix(root).expect("inside the crate");
            found.push(name.to_str().expect("plain names").replace('\\', "/"));
        }
    }
}

#[test]
fn all_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec!["Cargo.toml".to_owned()];
    files_under(&root.join("src"), root, &mut found);
    found.sort();
    let listed: Vec<_> = SOURCES.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, found, "src/sources.rs lists each once, sorted");
    for (name, text) in SOURCES {
        assert_eq!(fs::read_to_string(root.join(name)).expect(name), *text, "{name}");
    }
}
