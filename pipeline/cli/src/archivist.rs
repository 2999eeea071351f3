//! Puts sealed segments into history and applies retention, in the background of a server.

use crate::error::CliError;
use crate::keeping::Keeping;
use crate::node::system_clock;
use chalk_catalog::SystemTopic;
use chalk_event::{CommitSeq, IngestTime};
use chalk_log::{CommitLog, Keep, Need, Retention};
use chalk_runtime::{Checkpoints, Handle};
use chalk_store::LocalFiles;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often one looks whether a segment was sealed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often retention is applied when nothing was sealed.
const RETAIN_EVERY: Duration = Duration::from_secs(30);
/// Work on history rests for as long as it has taken, up to this at once: it takes half a core at most.
const REST_MAX: Duration = Duration::from_secs(2);

/// Who will read the log after a restart, by what is on disk.
pub(crate) fn needs(data: &Path) -> Vec<Need> {
    let checkpoint = match LocalFiles::existing(&data.join("checkpoints")).ok().map(|files| Checkpoints::last(&files)) {
        Some(Ok(Some((epoch, upto)))) => {
            Need { who: format!("a start from the checkpoint of epoch {epoch}"), after: upto }
        }
        _ => Need { who: "a start without a checkpoint".to_owned(), after: CommitSeq(0) },
    };
    let ids = LocalFiles::existing(&data.join("ids")).ok().and_then(|files| chalk_ingest::reads_after(&files).ok());
    let ids = Need { who: "the way in, to know ids again,".to_owned(), after: ids.unwrap_or(CommitSeq(0)) };
    vec![checkpoint, ids]
}

/// The thread. Dropping it stops it between two steps of work.
pub(crate) struct Archivist {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Archivist {
    /// `read_again` are the topics that a start reads from their beginning.
    pub(crate) fn start(
        log: Arc<CommitLog>,
        pipeline: Arc<Handle>,
        read_again: BTreeSet<String>,
        data: &Path,
    ) -> Result<Self, CliError> {
        let (stop, stopped) = channel();
        let work = Work { log, pipeline, read_again, data: data.to_owned(), stopped };
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || work.run())
            .map_err(|error| CliError::other(format!("cannot start a thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Archivist {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

struct Work {
    log: Arc<CommitLog>,
    pipeline: Arc<Handle>,
    read_again: BTreeSet<String>,
    data: PathBuf,
    stopped: Receiver<()>,
}

impl Work {
    fn run(self) {
        let (mut retained, mut told) = (None::<Instant>, None);
        while self.rests(LOOK_EVERY) {
            let to_export = self.log.to_export() > 0;
            if !to_export && retained.is_some_and(|at| at.elapsed() < RETAIN_EVERY) {
                continue;
            }
            let failed = self.once(to_export).err().map(|error| error.to_string());
            retained = Some(Instant::now());
            // It is tried again; the same words need not be said again.
            if let Some(failed) = failed.as_ref().filter(|&failed| told.as_ref() != Some(failed)) {
                eprintln!("history and retention: {failed}");
            }
            told = failed;
        }
    }

    fn once(&self, to_export: bool) -> Result<(), CliError> {
        if to_export {
            let mut began = Instant::now();
            self.log.export(&mut || {
                let go_on = self.rests(began.elapsed().min(REST_MAX));
                began = Instant::now();
                go_on
            })?;
        }
        let retention = self.retention()?;
        let mut needs = needs(&self.data);
        needs.push(Need { who: "the running pipeline".to_owned(), after: self.pipeline.snapshot().upto });
        if let Some(after) = self.pipeline.recorded_upto() {
            needs.push(Need { who: "a stage that calls an async function".to_owned(), after });
        }
        if self.log.history().is_none()
            && let Some(copies) = self.pipeline.status().checkpoint.copies
        {
            let who = format!("a start from the copy of a checkpoint in {}", copies.place);
            needs.push(Need { who, after: copies.last.map_or(CommitSeq(0), |(_, upto)| upto) });
        }
        if let Some(topic) = self.read_again.first().filter(|_| self.log.history().is_none()) {
            let who = format!("a start, which reads topic '{topic}' from its beginning,");
            needs.push(Need { who, after: CommitSeq(0) });
        }
        self.log.retain(&retention, &needs, IngestTime(system_clock()()))?;
        Ok(())
    }

    /// What is said, but that history keeps all of the topics that a start reads from their beginning, and verdicts on rows.
    fn retention(&self) -> Result<Retention, CliError> {
        let mut retention = Keeping::read(&self.data)?.retention();
        let read_by_each_start = SystemTopic::Verdicts.name().to_owned();
        for topic in self.read_again.iter().chain([&read_by_each_start]) {
            let keep = retention.topics.get(topic).copied().unwrap_or(retention.others);
            retention.topics.insert(topic.clone(), Keep { history_age: None, ..keep });
        }
        Ok(retention)
    }

    /// Waits; says whether to go on.
    fn rests(&self, time: Duration) -> bool {
        self.stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }
}
