//! Where the log begins once retention has removed segments: the file `trim`, format 1, is two lines of text, a JSON object ([`Trim`]) and
//! the CRC32C of that line, 8 hexadecimal digits.
//!
//! It is replaced before segments are removed. A segment before `first` is one that a crash has left: it does not count and is removed when the
//! log is next opened to write. Without the file the log begins with commit 1.

use super::footer::Segments;
use super::segment::name_of;
use crate::contract::LogError;
use chalk_event::CommitSeq;
use chalk_store::Storage;
use serde::{Deserialize, Serialize};

const NAME: &str = "trim";
const FORMAT: u16 = 1;

/// Where the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trim {
    format: u16,
    /// The first commit of the first segment that is kept.
    pub(super) first: CommitSeq,
    /// The segments before that.
    pub(super) removed: Segments,
}

impl Default for Trim {
    /// Nothing was ever removed.
    fn default() -> Self {
        Self { format: FORMAT, first: CommitSeq(1), removed: Segments::default() }
    }
}

impl Trim {
    pub(super) fn new(first: CommitSeq, removed: Segments) -> Self {
        Self { format: FORMAT, first, removed }
    }

    pub(super) fn read(storage: &dyn Storage) -> Result<Self, LogError> {
        storage.read(NAME)?.map_or_else(|| Ok(Self::default()), |bytes| Self::decode(&bytes))
    }

    pub(super) fn write(&self, storage: &dyn Storage) -> Result<(), LogError> {
        Ok(storage.replace(NAME, &self.encode()?)?)
    }

    fn encode(&self) -> Result<Vec<u8>, LogError> {
        let json = serde_json::to_string(self);
        let json = json.map_err(|error| LogError::Batch { operation: "encode", message: error.to_string() })?;
        Ok(format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes())).into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let damaged =
            |what: String| LogError::Damaged { file: NAME.to_owned(), commit: CommitSeq(0), position: 0, what };
        let lines = str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')?.split_once('\n'));
        let (json, crc) = lines.ok_or_else(|| damaged("it is cut off".to_owned()))?;
        if crc != format!("{:08x}", crc32c::crc32c(json.as_bytes())) {
            return Err(damaged("its checksum does not match".to_owned()));
        }
        let trim: Self = serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
        if trim.format > FORMAT {
            return Err(LogError::NewerFormat { file: NAME.to_owned(), found: trim.format, known: FORMAT });
        }
        Ok(trim)
    }

    /// Those of the segments that count; an error when the one that it names is missing.
    pub(super) fn kept(&self, mut firsts: Vec<CommitSeq>) -> Result<Vec<CommitSeq>, LogError> {
        firsts.retain(|&first| first >= self.first);
        let begins = firsts.first().copied();
        if self.removed.count > 0 && begins != Some(self.first) {
            let found =
                begins.map_or_else(|| "there is none".to_owned(), |found| format!("the first is {}", name_of(found)));
            let (file, commit) = (name_of(self.first), self.first);
            let what = format!("the log begins with this segment, but {found}: a segment is missing");
            return Err(LogError::Damaged { file, commit, position: 0, what });
        }
        Ok(firsts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_noticed() {
        let trim = Trim::new(CommitSeq(17), Segments { count: 2, bytes: 900, sum: u64::MAX });
        let bytes = trim.encode().expect("text");
        assert_eq!(Trim::decode(&bytes).expect("a trim"), trim);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Trim::decode(&flipped).is_err(), "bit {bit}");
        }
        let newer = Trim { format: 2, ..trim }.encode().expect("text");
        let error = Trim::decode(&newer).expect_err("a newer format").to_string();
        assert_eq!(error, "trim has format 2, this build reads 1: use a newer chalk");
    }
}
