//! Lines to files that are compressed.

use chalk_graph::options::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// Lines as a file's bytes. The same lines give the same bytes.
///
/// # Errors
/// When the compressor fails.
pub(crate) fn compressed(lines: &str, compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(lines.as_bytes().to_vec()),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(lines.as_bytes())?;
            encoder.finish()
        }
        Compression::Zstd => zstd::stream::encode_all(lines.as_bytes(), zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_compressed_is_read_again() {
        let lines = "{\"n\":1}\n".repeat(1000);
        let of = |compression| compressed(&lines, compression).expect("memory");
        assert_eq!(of(Compression::None), lines.as_bytes());
        let (gzip, zstd) = (of(Compression::Gzip), of(Compression::Zstd));
        assert!(gzip.len() < 200 && zstd.len() < 200, "{} and {} bytes", gzip.len(), zstd.len());
        let mut text = String::new();
        flate2::read::GzDecoder::new(gzip.as_slice()).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, lines);
        assert_eq!(zstd::stream::decode_all(zstd.as_slice()).expect("zstd"), lines.as_bytes());
    }
}
