//! History's own retention: files that are old enough are let go of, topic by topic.

use super::{History, HistoryFile};
use crate::contract::LogError;
use chalk_catalog::TopicId;
use chalk_event::IngestTime;

/// What was let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// So many files,
    pub files: u64,
    /// of so many bytes,
    pub bytes: u64,
    /// with so many rows.
    pub rows: u64,
}

impl History {
    /// Lets go of the files of a topic and a segment together, so that no partition has a hole, once the segment's last commit was made before a time;
    /// `before` gives the time by topic, if it has one. First the manifest forgets them, then they are removed: what a crash leaves behind
    /// is removed by the first export of the next run.
    ///
    /// # Errors
    /// When the manifest cannot be replaced, or a file cannot be removed.
    pub(in super::super) fn expire(&self, before: &dyn Fn(TopicId) -> Option<IngestTime>) -> Result<Expired, LogError> {
        let (manifest, mut expired) = (self.manifest(), Expired::default());
        let is_old = |last: IngestTime, file: &HistoryFile| before(file.topic_id).is_some_and(|before| last < before);
        if !manifest.segments.iter().any(|entry| entry.files.iter().any(|file| is_old(entry.times.1, file))) {
            return Ok(expired);
        }
        let (mut manifest, mut gone) = ((*manifest).clone(), Vec::new());
        for entry in &mut manifest.segments {
            let (old, kept): (Vec<_>, Vec<_>) =
                std::mem::take(&mut entry.files).into_iter().partition(|file| is_old(entry.times.1, file));
            entry.files = kept;
            for file in old {
                manifest.expired.insert(file.topic_id, entry.last);
                expired.files += 1;
                expired.bytes += file.bytes;
                expired.rows += file.rows;
                gone.push(file.key);
            }
        }
        self.put(manifest)?;
        for key in &gone {
            self.objects.delete(key)?;
        }
        Ok(expired)
    }
}
