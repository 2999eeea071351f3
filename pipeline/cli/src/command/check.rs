//! `chalk check [PATH] [--connect]`.

use crate::error::CliError;
use crate::functions::ProjectFunctions;
use crate::settings::LogBackend;
use crate::{Node, Outcome, ProjectFiles};
use chalk_graph::options::{FluvioOptions, SourceOptions};
use chalk_graph::{NodeKind, SinkTarget};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// A .sql file or a directory of them.
    #[arg(default_value = "sql")]
    path: PathBuf,
    /// Look also whether the places outside are there that tables read and write: files, directories, topics of clusters.
    #[arg(long)]
    connect: bool,
}

/// A place outside.
enum Place<'a> {
    /// A file that is read.
    File(PathBuf),
    /// A directory that is read.
    Folder(PathBuf),
    /// A directory that files are written to, which is made when it is not there.
    Into(PathBuf),
    /// A topic of a cluster.
    Fluvio(&'a FluvioOptions),
    /// A topic of a cluster that is made when it is not there.
    Log(&'a FluvioOptions),
}

impl Check {
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let files = ProjectFiles::read(&self.path)?;
        let functions = ProjectFunctions::declared(&files)?;
        let project = Node::plan_with(&files, &functions)?;
        let count = |is: &dyn Fn(&NodeKind) -> bool| project.graph.iter().filter(|(_, node)| is(&node.kind)).count();
        let views = count(&|kind| matches!(kind, NodeKind::Sink(sink) if matches!(sink.target, SinkTarget::View(_))));
        let sinks = count(&|kind| matches!(kind, NodeKind::Sink(_))) - views;
        println!("{}: {} tables, {views} views, {sinks} sinks: no mistakes", self.path.display(), project.tables.len());
        if !self.connect {
            return Ok(Outcome::Done);
        }
        let mut places = BTreeMap::new();
        let at = |path: &Path| files.directory.join(path);
        for source in project.graph.tables() {
            let place = match &source.options {
                Some(SourceOptions::SingleFile(file)) => Place::File(at(&file.path)),
                Some(SourceOptions::Folder(folder)) => Place::Folder(at(&folder.path)),
                Some(SourceOptions::Fluvio(fluvio)) => Place::Fluvio(fluvio),
                Some(SourceOptions::Impulse(_) | SourceOptions::Nexmark(_) | SourceOptions::Generator(_)) | None => {
                    continue;
                }
            };
            places.insert(format!("table {}", source.table), place);
        }
        if let LogBackend::Fluvio(fluvio) = &files.log {
            places.insert("the log".to_owned(), Place::Log(&fluvio.options));
        }
        for (_, node) in project.graph.iter() {
            let NodeKind::Sink(sink) = &node.kind else { continue };
            let place = match &sink.target {
                SinkTarget::File(file) => Place::Into(parent(&at(&file.path))),
                SinkTarget::Directory(directory) => Place::Into(parent(&at(&directory.path))),
                SinkTarget::Fluvio(fluvio) => Place::Fluvio(fluvio),
                SinkTarget::View(_) | SinkTarget::Topic(_) | SinkTarget::Stdout | SinkTarget::Blackhole => continue,
            };
            places.insert(format!("query {}", sink.query), place);
        }
        let mut outcome = Outcome::Done;
        for (who, place) in places {
            match place.look(&files.directory) {
                Ok(found) => println!("  {who}: {found}"),
                Err(error) => {
                    println!("  {who}: NOT THERE: {error}");
                    outcome = Outcome::Refused;
                }
            }
        }
        Ok(outcome)
    }
}

fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

impl Place<'_> {
    /// What is there, in words.
    fn look(&self, directory: &Path) -> Result<String, String> {
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        match self {
            Self::File(path) => {
                let opened = std::fs::File::open(path).and_then(|file| file.metadata());
                let found = opened.map_err(|error| failed(path, error))?;
                Ok(format!("{}, {} bytes", path.display(), found.len()))
            }
            Self::Folder(path) => {
                let found = std::fs::read_dir(path).map_err(|error| failed(path, error))?;
                Ok(format!("{}, {} files", path.display(), found.count()))
            }
            Self::Into(path) => {
                let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
                let found = there.metadata().map_err(|error| failed(there, error))?;
                match found.is_dir() && !found.permissions().readonly() {
                    true => Ok(format!("{} can be written to", there.display())),
                    false => Err(format!("{} cannot be written to", there.display())),
                }
            }
            Self::Fluvio(options) => {
                chalk_runtime::look_at_topic(options, directory).map_err(|error| error.to_string())
            }
            Self::Log(options) => match chalk_runtime::look_at_topic(options, directory) {
                Err(error) if error.is_no_topic() => Ok(format!("topic {} will be made", options.topic)),
                found => found.map_err(|error| error.to_string()),
            },
        }
    }
}
