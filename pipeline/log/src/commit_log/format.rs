//! The byte layout of a segment, format 2. All numbers are little-endian.
//!
//! ```text
//! limits   segment rolls at 64 MiB or after a day by default · commit ≤ 256 MiB · frames in a commit < 2^32 · rows in a frame < 2^32
//!
//! segment  = header commit* [footer]           named {first commit_seq:020}.log
//!
//! header   =  0  8 magic "CHALKLOG"            40 bytes
//!             8  2 format
//!            10  2 zero
//!            12  4 CRC32C of bytes 16..40
//!            16 16 node
//!            32  8 first commit_seq
//!
//! commit   = head body*
//! head     =  0  4 magic "CMT1"
//!             4  4 length of head
//!             8  4 CRC32C of head from byte 12
//!            12  8 length of the commit
//!            20  8 commit_seq
//!            28  8 commit_time, nanoseconds UTC
//!            36  4 number of frames
//!            40 48 × frame head
//! frame    =  0  4 topic
//! head        4  2 partition
//!             6  2 flags: bit 0 = has event times
//!             8  8 base offset
//!            16  4 rows
//!            20  4 schema
//!            24  8 least event time    32 8 greatest event time
//!            40  4 length of body      44 4 CRC32C of body
//! body     =  0  4 length of message
//!             4  . Arrow IPC record batch message (the schema is the catalogue's)
//!             .  . its buffers at multiples of 8; from 16 rows on as LZ4 frames
//!
//! footer   = index control lanes ending        once sealed; parts of it are read when they are needed
//!
//!            The index finds what stands in this segment. Everything else says how things are at its end, so that a log is
//!            opened by its last footer whatever came before.
//!
//! index    = (number of frames, nanoseconds since the commit before, frame*) of each commit, in order
//! frame    = lane number, rows, schema, length of body; 4 CRC32C of body
//!            All but the checksum as LEB128. Positions and base offsets follow from lengths and rows.
//!
//! control  = body of the control events that lead to the topics and the journal as they are: all of the catalogue, and the
//!            last of each pipeline and bounded source
//!
//! lane     =  0  4 topic    4  2 partition     for every partition that has rows, in order; its place is its lane number
//!             6  2 flags: bit 0 = has event times in this segment
//!             8  8 first offset in this segment
//!            16  8 tail
//!            24  8 bytes of all its bodies
//!            32  8 last commit_seq     40 8 its commit_time
//!            48  8 least event time    56 8 greatest event time
//!
//! ending   =  0  8 first commit_seq     8 8 its commit_time
//!            16  8 last commit_seq     24 8 its commit_time
//!            32  8 number of earlier segments
//!            40  8 bytes of these
//!            48  8 sum over these of the first commit_seq, mixed: tells without reading them when one is missing
//!            56  8 length of index     64 4 CRC32C of index
//!            68  4 CRC32C of control   72 8 length of control
//!            80  8 length of lanes     88 4 CRC32C of lanes
//!            92  4 CRC32C of bytes 0..92
//!            96  8 magic "CHALKEND"
//! ```

use chalk_catalog::{SchemaId, TopicId};
use chalk_event::{CommitSeq, EventTime, IngestTime, Offset, PartitionId};

pub(super) const FORMAT: u16 = 2;
pub(super) const HEADER_BYTES: usize = 40;
pub(super) const COMMIT_HEAD_BYTES: usize = 40;
pub(super) const FRAME_HEAD_BYTES: usize = 48;
pub(super) const COMMIT_BYTES_MAX: usize = 256 << 20;

const MAGIC: &[u8; 8] = b"CHALKLOG";
const COMMIT_MAGIC: &[u8; 4] = b"CMT1";
pub(super) const HAS_EVENT_TIMES: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) node: [u8; 16],
    pub(super) first: CommitSeq,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitHead {
    pub(super) seq: CommitSeq,
    pub(super) time: IngestTime,
    pub(super) frames: Vec<FrameHead>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) topic: TopicId,
    pub(super) partition: PartitionId,
    pub(super) base_offset: Offset,
    pub(super) rows: u32,
    pub(super) schema: SchemaId,
    pub(super) event_times: Option<(EventTime, EventTime)>,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
}

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The bytes end before the thing does.
    Short,
    /// They are not what was written.
    Wrong(&'static str),
    /// They are of another format than [`FORMAT`].
    Format(u16),
}

/// Takes numbers from the front of bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Unreadable::Short)?;
        self.0 = rest;
        Ok(*head)
    }
    pub(super) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_le_bytes)
    }
    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }
    pub(super) fn i64(&mut self) -> Result<i64, Unreadable> {
        self.array().map(i64::from_le_bytes)
    }
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut rest = self.node.to_vec();
        rest.extend(self.first.0.to_le_bytes());
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(crc32c::crc32c(&rest).to_le_bytes());
        bytes.extend(rest);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        if &reader.array::<8>()? != MAGIC {
            return Err(Unreadable::Wrong("it does not begin as a log segment does"));
        }
        let format = reader.u16()?;
        if format == 0 {
            return Err(Unreadable::Wrong("the header's format is not one that was ever written"));
        }
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        if reader.u16()? != 0 {
            return Err(Unreadable::Wrong("the header has bytes that were never written"));
        }
        let crc = reader.u32()?;
        let rest = reader.0.get(..24).ok_or(Unreadable::Short)?;
        if crc32c::crc32c(rest) != crc {
            return Err(Unreadable::Wrong("the header's checksum does not match"));
        }
        Ok(Self { node: reader.array()?, first: CommitSeq(reader.u64()?) })
    }
}

impl FrameHead {
    fn encode(&self, into: &mut Vec<u8>) {
        let (least, greatest) = self.event_times.map_or((0, 0), |(least, greatest)| (least.0, greatest.0));
        into.extend(self.topic.0.to_le_bytes());
        into.extend(self.partition.0.to_le_bytes());
        into.extend((if self.event_times.is_some() { HAS_EVENT_TIMES } else { 0 }).to_le_bytes());
        into.extend(self.base_offset.0.to_le_bytes());
        into.extend(self.rows.to_le_bytes());
        into.extend(self.schema.0.to_le_bytes());
        into.extend(least.to_le_bytes());
        into.extend(greatest.to_le_bytes());
        into.extend(self.body_bytes.to_le_bytes());
        into.extend(self.body_crc.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let topic = TopicId(reader.u32()?);
        let partition = PartitionId(reader.u16()?);
        let flags = reader.u16()?;
        let base_offset = Offset(reader.u64()?);
        let rows = reader.u32()?;
        let schema = SchemaId(reader.u32()?);
        let times = (EventTime(reader.i64()?), EventTime(reader.i64()?));
        Ok(Self {
            topic,
            partition,
            base_offset,
            rows,
            schema,
            event_times: (flags & HAS_EVENT_TIMES != 0).then_some(times),
            body_bytes: reader.u32()?,
            body_crc: reader.u32()?,
        })
    }
}

impl CommitHead {
    pub(super) fn head_bytes(&self) -> usize {
        COMMIT_HEAD_BYTES + self.frames.len() * FRAME_HEAD_BYTES
    }

    /// Head and bodies.
    pub(super) fn commit_bytes(&self) -> u64 {
        self.head_bytes() as u64 + self.frames.iter().map(|frame| u64::from(frame.body_bytes)).sum::<u64>()
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend(COMMIT_MAGIC);
        into.extend((self.head_bytes() as u32).to_le_bytes());
        into.extend([0; 4]);
        into.extend(self.commit_bytes().to_le_bytes());
        into.extend(self.seq.0.to_le_bytes());
        into.extend(self.time.0.to_le_bytes());
        into.extend((self.frames.len() as u32).to_le_bytes());
        for frame in &self.frames {
            frame.encode(into);
        }
        let crc = crc32c::crc32c(&into[start + 12..]);
        into[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    /// The length of the head that begins here, from its first bytes.
    pub(super) fn peek_head_bytes(bytes: &[u8]) -> Result<usize, Unreadable> {
        let mut reader = Reader(bytes);
        if &reader.array::<4>()? != COMMIT_MAGIC {
            return Err(Unreadable::Wrong("no commit begins here"));
        }
        let length = reader.u32()? as usize;
        if length < COMMIT_HEAD_BYTES || !(length - COMMIT_HEAD_BYTES).is_multiple_of(FRAME_HEAD_BYTES) {
            return Err(Unreadable::Wrong("the commit's length is impossible"));
        }
        Ok(length)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let length = Self::peek_head_bytes(bytes)?;
        let head = bytes.get(..length).ok_or(Unreadable::Short)?;
        let mut reader = Reader(&head[8..]);
        let crc = reader.u32()?;
        if crc32c::crc32c(reader.0) != crc {
            return Err(Unreadable::Wrong("the commit's checksum does not match"));
        }
        let commit_bytes = reader.u64()?;
        let seq = CommitSeq(reader.u64()?);
        let time = IngestTime(reader.i64()?);
        let count = reader.u32()? as usize;
        if COMMIT_HEAD_BYTES + count * FRAME_HEAD_BYTES != length {
            return Err(Unreadable::Wrong("the commit's frames do not fit its length"));
        }
        let frames = (0..count).map(|_| FrameHead::decode(&mut reader)).collect::<Result<_, _>>()?;
        let head = Self { seq, time, frames };
        if head.commit_bytes() != commit_bytes {
            return Err(Unreadable::Wrong("the commit's bodies do not fit its length"));
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> CommitHead {
        CommitHead {
            seq: CommitSeq(7),
            time: IngestTime(8),
            frames: vec![FrameHead {
                topic: TopicId(16),
                partition: PartitionId(1),
                base_offset: Offset(3),
                rows: 2,
                schema: SchemaId(16),
                event_times: Some((EventTime(-1), EventTime(5))),
                body_bytes: 10,
                body_crc: 11,
            }],
        }
    }

    #[test]
    fn heads_come_back() {
        let mut bytes = Vec::new();
        head().encode(&mut bytes);
        assert_eq!(bytes.len(), COMMIT_HEAD_BYTES + FRAME_HEAD_BYTES);
        assert_eq!(CommitHead::decode(&bytes), Ok(head()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut commit = Vec::new();
        head().encode(&mut commit);
        let header = SegmentHeader { node: [3; 16], first: CommitSeq(1) }.encode();
        for bit in 0..commit.len() * 8 {
            let mut flipped = commit.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(CommitHead::decode(&flipped).is_err(), "bit {bit} of a commit head");
        }
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit} of a segment header");
        }
    }
}
