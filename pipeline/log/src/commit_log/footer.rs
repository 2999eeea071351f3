//! The footer of a sealed segment: an index of what stands in it, and how everything is at its end.

use super::format::{Reader, Unreadable};
use super::index::Index;
use super::lanes::{LANE_BYTES, Lanes};
use chalk_event::{CommitSeq, IngestTime};
use serde::{Deserialize, Serialize};

pub(super) const ENDING_BYTES: usize = 104;
const ENDING_CHECKED_BYTES: usize = 92;
const END_MAGIC: &[u8; 8] = b"CHALKEND";

/// What is known of a run of segments without reading them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segments {
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// Of their first commits, mixed. A sum, so that segments can be taken away from it again.
    pub(super) sum: u64,
}

impl Segments {
    pub(super) fn add(&mut self, first: CommitSeq, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.sum = self.sum.wrapping_add(mix(first.0));
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): sums of other numbers are not likely to be the same.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Bytes of a part of a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// From the beginning of the footer.
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Part {
    fn of(footer: &[u8], at: usize) -> Self {
        let part = &footer[at..];
        Self { at: at as u64, bytes: part.len() as u64, crc: crc32c::crc32c(part) }
    }

    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Unreadable> {
        if crc32c::crc32c(bytes) == self.crc {
            Ok(())
        } else {
            Err(Unreadable::Wrong("the footer's checksum does not match"))
        }
    }
}

/// The last bytes of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) first: (CommitSeq, IngestTime),
    pub(super) last: (CommitSeq, IngestTime),
    /// The segments before this one.
    pub(super) earlier: Segments,
    pub(super) index: Part,
    pub(super) control: Part,
    pub(super) lanes: Part,
}

/// A footer; `None` for a segment without commits, which is not sealed.
pub(super) fn encode(index: &Index, control: &[u8], lanes: &Lanes, earlier: Segments) -> Option<Vec<u8>> {
    let (first_time, last_time) = index.times()?;
    let mut footer = Vec::new();
    index.encode(lanes, &mut footer);
    let index_part = Part::of(&footer, 0);
    let at = footer.len();
    footer.extend(control);
    let control_part = Part::of(&footer, at);
    let at = footer.len();
    lanes.encode(&mut footer);
    let ending = Ending {
        first: (index.first(), first_time),
        last: (CommitSeq(index.next().0 - 1), last_time),
        earlier,
        index: index_part,
        control: control_part,
        lanes: Part::of(&footer, at),
    };
    footer.extend(ending.encode());
    Some(footer)
}

impl Ending {
    /// How long the footer is.
    pub(super) fn footer_bytes(&self) -> u64 {
        self.lanes.at.saturating_add(self.lanes.bytes).saturating_add(ENDING_BYTES as u64)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENDING_BYTES);
        for (seq, time) in [self.first, self.last] {
            bytes.extend(seq.0.to_le_bytes());
            bytes.extend(time.0.to_le_bytes());
        }
        bytes.extend(self.earlier.count.to_le_bytes());
        bytes.extend(self.earlier.bytes.to_le_bytes());
        bytes.extend(self.earlier.sum.to_le_bytes());
        bytes.extend(self.index.bytes.to_le_bytes());
        bytes.extend(self.index.crc.to_le_bytes());
        bytes.extend(self.control.crc.to_le_bytes());
        bytes.extend(self.control.bytes.to_le_bytes());
        bytes.extend(self.lanes.bytes.to_le_bytes());
        bytes.extend(self.lanes.crc.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.extend(END_MAGIC);
        bytes
    }

    /// `None` when they are not the last bytes of a sealed segment.
    pub(super) fn decode(bytes: &[u8; ENDING_BYTES]) -> Result<Option<Self>, Unreadable> {
        let (checked, rest) = bytes.split_at(ENDING_CHECKED_BYTES);
        if &rest[4..] != END_MAGIC {
            return Ok(None);
        }
        if Reader(rest).u32()? != crc32c::crc32c(checked) {
            return Err(Unreadable::Wrong("the footer's checksum does not match"));
        }
        let mut reader = Reader(checked);
        let first = (CommitSeq(reader.u64()?), IngestTime(reader.i64()?));
        let last = (CommitSeq(reader.u64()?), IngestTime(reader.i64()?));
        let earlier = Segments { count: reader.u64()?, bytes: reader.u64()?, sum: reader.u64()? };
        let index = Part { at: 0, bytes: reader.u64()?, crc: reader.u32()? };
        let crc = reader.u32()?;
        let control = Part { at: index.bytes, bytes: reader.u64()?, crc };
        let at = control.at.saturating_add(control.bytes);
        let lanes = Part { at, bytes: reader.u64()?, crc: reader.u32()? };
        if !lanes.bytes.is_multiple_of(LANE_BYTES as u64) {
            return Err(Unreadable::Wrong("the footer's length is impossible"));
        }
        Ok(Some(Self { first, last, earlier, index, control, lanes }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{CommitHead, FrameHead, HEADER_BYTES};
    use super::*;
    use chalk_catalog::{SchemaId, TopicId};
    use chalk_event::{EventTime, Offset, PartitionId};

    /// Frames as `(partition, rows, bytes)`.
    fn segment(first: u64, commits: &[&[(u16, u32, u32)]], lanes: &mut Lanes) -> Index {
        let mut index = Index::new(CommitSeq(first));
        for (number, frames) in commits.iter().enumerate() {
            let mut head =
                CommitHead { seq: index.next(), time: IngestTime(-300 + 700 * number as i64), frames: Vec::new() };
            for &(partition, rows, body_bytes) in *frames {
                let frame = FrameHead {
                    topic: TopicId(16 + u32::from(partition % 2)),
                    partition: PartitionId(partition),
                    base_offset: lanes.get((TopicId(16 + u32::from(partition % 2)), PartitionId(partition))).tail,
                    rows,
                    schema: SchemaId(20),
                    event_times: (rows > 2).then_some((EventTime(-1), EventTime(i64::from(rows)))),
                    body_bytes,
                    body_crc: body_bytes ^ 0xdead_beef,
                };
                lanes.add(&frame, head.seq, head.time);
                head.frames.push(frame);
            }
            index.add(&head);
        }
        index
    }

    fn read(index: &Index) -> Vec<String> {
        let (frames, _) = index.frames_after(index.first(), index.next(), &[TopicId(16), TopicId(17)], usize::MAX);
        frames.iter().map(|frame| format!("{frame:?}")).collect()
    }

    #[test]
    fn footers_come_back() {
        let mut lanes = Lanes::default();
        segment(1, &[&[(3, 5, 100)], &[(0, 1, 9)]], &mut lanes);
        lanes.begin_segment();
        let index =
            segment(3, &[&[(1, 3, 400), (0, 1, 7)], &[], &[(0, 0, 8), (3, 200, 1 << 20), (0, 2, 5)]], &mut lanes);
        let earlier = Segments { count: 1, bytes: 77, sum: 5 };
        let footer = encode(&index, b"control", &lanes, earlier).expect("a segment with commits");
        let (_, ending) = footer.split_last_chunk().expect("an ending");
        let ending = Ending::decode(ending).expect("a whole ending").expect("an ending");
        assert_eq!((ending.first, ending.last), ((CommitSeq(3), IngestTime(-300)), (CommitSeq(5), IngestTime(1100))));
        assert_eq!((ending.earlier, ending.footer_bytes()), (earlier, footer.len() as u64));
        let part = |part: Part| {
            let bytes = &footer[part.at as usize..(part.at + part.bytes) as usize];
            part.check(bytes).expect("the right checksum");
            bytes
        };
        assert_eq!(part(ending.control), b"control");
        assert_eq!(Lanes::decode(part(ending.lanes)), Ok(lanes.clone()));
        let decoded = Index::decode(part(ending.index), CommitSeq(3), ending.first.1, &lanes, index.end());
        let decoded = decoded.expect("a whole index");
        assert_eq!(read(&decoded), read(&index));
        assert_eq!((decoded.next(), decoded.times()), (index.next(), index.times()));
        assert!(Index::decode(part(ending.index), CommitSeq(3), ending.first.1, &lanes, index.end() + 1).is_err());
        lanes.begin_segment();
        assert!(Index::decode(part(ending.index), CommitSeq(3), ending.first.1, &lanes, index.end()).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut lanes = Lanes::default();
        let index = segment(1, &[&[(3, 5, 100)], &[(0, 1, 9)]], &mut lanes);
        let footer = encode(&index, b"control", &lanes, Segments::default()).expect("a segment with commits");
        let whole = |footer: &[u8]| {
            let (_, ending) = footer.split_last_chunk()?;
            let ending = Ending::decode(ending).ok()??;
            [ending.index, ending.control, ending.lanes]
                .into_iter()
                .try_for_each(|part| part.check(footer.get(part.at as usize..(part.at + part.bytes) as usize)?).ok())
        };
        assert_eq!(whole(&footer), Some(()));
        for bit in 0..footer.len() * 8 {
            let mut flipped = footer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(whole(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn partitions_are_found_in_an_index() {
        let mut lanes = Lanes::default();
        let index = segment(1, &[&[(0, 2, 10), (0, 3, 20)], &[(2, 1, 5)], &[(0, 0, 30), (0, 1, 40)]], &mut lanes);
        let from = |from: u64, bytes_max: usize| {
            let frames = index.frames_from((TopicId(16), PartitionId(0)), Offset(from), bytes_max);
            frames.iter().map(|frame| (frame.commit.0, frame.base_offset.0, frame.position)).collect::<Vec<_>>()
        };
        let header = HEADER_BYTES as u64;
        let first = header + 40 + 2 * 48;
        let third = first + 30 + 40 + 48 + 5 + 40 + 2 * 48;
        assert_eq!(from(0, 1), [(1, 0, first)]);
        assert_eq!(from(1, 11), [(1, 0, first), (1, 2, first + 10)]);
        assert_eq!(from(4, usize::MAX), [(1, 2, first + 10), (3, 5, third), (3, 5, third + 30)]);
        assert_eq!(from(5, usize::MAX), [(3, 5, third + 30)]);
        assert_eq!(from(6, usize::MAX), []);
        assert_eq!(index.frames_from((TopicId(9), PartitionId(0)), Offset(0), 1), []);
    }
}
