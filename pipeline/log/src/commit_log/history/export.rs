//! A sealed segment to files.

use super::super::index::FrameToRead;
use super::super::reader::read_stored;
use super::super::sealed::IndexedSegment;
use super::super::segment::Summary;
use super::file::FileWriter;
use super::manifest::{Entry, HistoryFile, nanos};
use super::{History, MANIFEST};
use crate::contract::LogError;
use arrow::array::RecordBatch;
use chalk_catalog::{SchemaId, TopicDef, TopicId, Topics};
use chalk_event::{CommitSeq, format_rfc3339};
use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// About so many bytes of frames are read and encoded at once.
const STEP_BYTES_MAX: usize = 4 << 20;

/// What an export came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// So many segments.
    pub segments: u64,
    /// In so many files,
    pub files: u64,
    /// of so many bytes,
    pub bytes: u64,
    /// with so many rows.
    pub rows: u64,
}

impl Exported {
    fn add(&mut self, entry: &Entry) {
        self.segments += 1;
        for file in &entry.files {
            self.files += 1;
            self.bytes += file.bytes;
            self.rows += file.rows;
        }
    }
}

impl History {
    /// Puts a segment, which must be the next one, into files and then into the manifest. `go_on` is asked between steps of work, and may
    /// wait; when it says no, nothing of the segment counts and the answer is `false`.
    pub(in super::super) fn export(
        &self,
        segment: &IndexedSegment,
        summary: &Summary,
        topics: &Topics,
        go_on: &mut dyn FnMut() -> bool,
        exported: &mut Exported,
    ) -> Result<bool, LogError> {
        self.sweep()?;
        let manifest = self.manifest();
        let (first, last) = (summary.ending.first, summary.ending.last);
        let next = manifest.upto().next();
        if !manifest.segments.is_empty() && first.0 != next {
            return Err(LogError::Schema(format!(
                "the history at {} ends before commit {next}, but the log begins with {}: what is between them was removed while no history was kept\n  \
                 hint: let the history go on in another place, which then begins with commit {}",
                self.location(),
                first.0,
                first.0
            )));
        }
        let of_segment: BTreeSet<TopicId> = summary.with_rows().map(|((topic, _), _)| topic).collect();
        let mut files = Vec::new();
        for topic in of_segment {
            let unknown = || LogError::Schema(format!("topic {} is not known", topic.0));
            let topic = topics.by_id(topic).ok_or_else(unknown)?;
            match self.export_topic(segment, summary, topic, topics, go_on)? {
                Some(of_topic) => files.extend(of_topic),
                None => return Ok(false),
            }
        }
        let entry = Entry { first: first.0, last: last.0, times: (first.1, last.1), files };
        exported.add(&entry);
        let mut manifest = (*manifest).clone();
        manifest.segments.push(entry);
        self.put(manifest)?;
        Ok(true)
    }

    /// Puts a topic's files; gives what they are, or `None` when it is not to go on.
    fn export_topic(
        &self,
        segment: &IndexedSegment,
        summary: &Summary,
        topic: &TopicDef,
        topics: &Topics,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<HistoryFile>>, LogError> {
        let mut writers: BTreeMap<(String, SchemaId), FileWriter> = BTreeMap::new();
        let (mut from, last) = (summary.ending.first.0, summary.ending.last.0);
        while from <= last {
            if !go_on() {
                return Ok(None);
            }
            let (places, upto) = segment.index.frames_after(from, last, &[topic.id], STEP_BYTES_MAX);
            from = upto.next();
            let rows = read_stored(&segment.segment, &places, topics)?;
            let mut order: Vec<usize> = (0..places.len()).collect();
            order.sort_by_key(|&frame| (places[frame].commit, places[frame].partition, places[frame].number));
            let mut chunks: BTreeMap<(String, SchemaId), Vec<(FrameToRead, RecordBatch)>> = BTreeMap::new();
            for frame in order {
                let place = places[frame];
                chunks.entry((day_of(place.time.0), place.schema)).or_default().push((place, rows[frame].clone()));
            }
            for ((day, schema), frames) in chunks {
                let writer = match writers.entry((day, schema)) {
                    Place::Occupied(writer) => writer.into_mut(),
                    Place::Vacant(place) => {
                        let written = topics.schema(schema);
                        let written =
                            written.ok_or_else(|| LogError::Schema(format!("schema {} is not known", schema.0)))?;
                        let day = place.key().0.clone();
                        let key = key_of(topic.name(), &day, summary.ending.first.0, schema);
                        place.insert(FileWriter::new(key, topic, (schema, written), day)?)
                    }
                };
                writer.push(&frames)?;
            }
        }
        let event_times = summary.event_times(topic.id).map(nanos);
        let mut files = Vec::new();
        for writer in writers.into_values() {
            if let Some((file, bytes)) = writer.finish(event_times)? {
                self.objects.put(&file.key, bytes)?;
                files.push(file);
            }
        }
        Ok(Some(files))
    }

    /// Removes files that do not count: what an export that was cut off has left. Once is enough; files of other kinds are left alone.
    fn sweep(&self) -> Result<(), LogError> {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if *swept {
            return Ok(());
        }
        let manifest = self.manifest();
        let counts: BTreeSet<&str> = manifest.files().map(|file| file.key.as_str()).collect();
        for object in self.objects.list()? {
            let key = object.key.as_str();
            if !counts.contains(key) && (is_file(key) || key == format!("{MANIFEST}.new")) {
                self.objects.delete(key)?;
            }
        }
        *swept = true;
        Ok(())
    }
}

/// The UTC day of a time in nanoseconds.
fn day_of(nanos: i64) -> String {
    let mut text = format_rfc3339(nanos);
    text.truncate(text.find('T').unwrap_or(text.len()));
    text
}

fn key_of(topic: &str, day: &str, first: CommitSeq, schema: SchemaId) -> String {
    format!("topic={}/day={day}/{:020}-{}.parquet", escaped(topic), first.0, schema.0)
}

/// Whether a key is one that [`key_of`] makes, or what a file system has left of one.
fn is_file(key: &str) -> bool {
    let key = key.strip_suffix(".new").unwrap_or(key);
    let parts: Vec<&str> = key.split('/').collect();
    let [topic, day, name] = parts.as_slice() else { return false };
    let numbers = name.strip_suffix(".parquet").and_then(|name| name.split_once('-'));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    topic.starts_with("topic=")
        && day.starts_with("day=")
        && numbers.is_some_and(|(first, schema)| first.len() == 20 && digits(first) && digits(schema))
}

/// As Hive writes values into paths.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            escaped.push(byte as char);
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_hive_makes_of_them_and_are_known_again() {
        let key = key_of("a/b ö", &day_of(1_756_684_800_000_000_000), CommitSeq(7), SchemaId(16));
        assert_eq!(key, "topic=a%2Fb%20%C3%B6/day=2025-09-01/00000000000000000007-16.parquet");
        assert!(is_file(&key) && is_file(&format!("{key}.new")));
        for other in ["manifest", "topic=a/day=b/notes.parquet", "topic=a/00000000000000000007-16.parquet", "x.parquet"]
        {
            assert!(!is_file(other), "{other}");
        }
    }
}
