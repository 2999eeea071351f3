//! Connectors that the program adds: lines that are made up.

use crate::{ConnectError, LineChunk, LineSource, Pace};

/// So many bytes make a chunk, or a line more.
const CHUNK_BYTES: usize = 1 << 20;

/// Lines without their newlines; the same whenever they are made again.
pub type MadeUp = Box<dyn Iterator<Item = String> + Send>;

/// A bounded source of lines that are made up. Positions are in lines.
pub struct Generated {
    lines: MadeUp,
    pace: Option<Pace>,
    position: u64,
}

impl Generated {
    /// Goes on after so many lines, at so many a second if it is said.
    pub fn new(mut lines: MadeUp, after: u64, rate: Option<f64>) -> Self {
        for _ in 0..after {
            if lines.next().is_none() {
                break;
            }
        }
        Self { lines, pace: rate.map(Pace::new), position: after }
    }
}

impl LineSource for Generated {
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError> {
        let due = self.pace.as_mut().map_or(u64::MAX, Pace::due);
        let (mut bytes, mut lines) = (Vec::new(), 0);
        while lines < due && bytes.len() < CHUNK_BYTES {
            let Some(line) = self.lines.next() else { break };
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            lines += 1;
        }
        if lines == 0 && due > 0 {
            return Ok(None);
        }
        self.position += lines;
        Ok(Some(LineChunk { bytes, position: self.position, lines }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up() -> MadeUp {
        Box::new((0..5).map(|number| number.to_string()))
    }

    /// All lines that are left after so many, and the positions after each chunk.
    fn read(after: u64, rate: Option<f64>) -> (String, Vec<u64>) {
        let mut source = Generated::new(made_up(), after, rate);
        let (mut text, mut positions) = (String::new(), Vec::new());
        while let Some(chunk) = source.next().expect("made up") {
            text.push_str(str::from_utf8(&chunk.bytes).expect("text"));
            positions.push(chunk.position);
        }
        (text, positions)
    }

    #[test]
    fn it_goes_on_where_it_was() {
        assert_eq!(read(0, None), ("0\n1\n2\n3\n4\n".to_owned(), vec![5]));
        assert_eq!(read(3, None), ("3\n4\n".to_owned(), vec![5]));
        assert_eq!(read(5, None), (String::new(), vec![]));
        assert_eq!(read(9, None), (String::new(), vec![]));
        let (text, positions) = read(1, Some(1e6));
        assert_eq!((text.as_str(), positions.last()), ("1\n2\n3\n4\n", Some(&5)));
    }
}
