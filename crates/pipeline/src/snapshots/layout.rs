//! The bytes of a snapshot's file; `docs/FORMAT.md` describes them. Numbers are big-endian.
//!
//! ```text
//! head     magic, 8 bytes; version, 4 bytes
//! record   number, 8 bytes; length, 8 bytes; the bytes; XXH3 of all that, 8 bytes    for each chunk
//! record   the same for the manifest, with the number 2⁶⁴ - 1
//! index    where each chunk's record begins, 8 bytes each
//! tail     where the manifest's record and the index begin, 8 bytes each; how many chunks, 8 bytes;
//!          XXH3 of head and these, 8 bytes; magic, 8 bytes
//! ```

use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::SNAPSHOT_CHUNK_BYTES_MAX;

const MAGIC: [u8; 8] = *b"ARCHISNP";
const MAGIC_AT_THE_END: [u8; 8] = *b"ARCHIEND";
const VERSION: u32 = 1;
const HEAD_BYTES: u64 = 12;
const RECORD_HEAD_BYTES: u64 = 16;
const SUM_BYTES: u64 = 8;
const TAIL_BYTES: u64 = 40;
const MANIFEST: u64 = u64::MAX;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// There is no such chunk.
    Missing,
    Damaged(&'static str),
    /// A newer build may read it.
    Version(u32),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        match error.kind() {
            // Nothing is read beyond what the length of the file allows: it was shortened meanwhile.
            io::ErrorKind::UnexpectedEof => ReadError::Damaged("it ends too early"),
            _ => ReadError::Io(error),
        }
    }
}

fn head() -> [u8; 12] {
    let mut head = [0; 12];
    head[..8].copy_from_slice(&MAGIC);
    head[8..].copy_from_slice(&VERSION.to_be_bytes());
    head
}

/// Writes a file from its beginning to its end.
#[derive(Debug)]
pub(super) struct LayoutWriter<W> {
    to: W,
    at: u64,
    index: Vec<u64>,
}

impl<W: Write> LayoutWriter<W> {
    pub(super) fn new(mut to: W) -> io::Result<LayoutWriter<W>> {
        to.write_all(&head())?;
        Ok(LayoutWriter { to, at: HEAD_BYTES, index: Vec::new() })
    }

    pub(super) fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let number = self.index.len() as u64;
        self.index.push(self.at);
        self.record(number, bytes)
    }

    pub(super) fn finish(mut self, manifest: &[u8]) -> io::Result<W> {
        let manifest_at = self.at;
        self.record(MANIFEST, manifest)?;
        let index_at = self.at;
        for place in &self.index {
            self.to.write_all(&place.to_be_bytes())?;
        }
        let mut tail = [0; 24];
        for (to, number) in tail.chunks_exact_mut(8).zip([manifest_at, index_at, self.index.len() as u64]) {
            to.copy_from_slice(&number.to_be_bytes());
        }
        self.to.write_all(&tail)?;
        self.to.write_all(&sum(&[&head(), &tail]))?;
        self.to.write_all(&MAGIC_AT_THE_END)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn record(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let (number, length) = (number.to_be_bytes(), (bytes.len() as u64).to_be_bytes());
        for piece in [&number, &length, bytes, &sum(&[&number, &length, bytes])] {
            self.to.write_all(piece)?;
        }
        self.at += RECORD_HEAD_BYTES + bytes.len() as u64 + SUM_BYTES;
        Ok(())
    }
}

fn sum(pieces: &[&[u8]]) -> [u8; 8] {
    let mut sum = Xxh3Default::new();
    pieces.iter().for_each(|piece| sum.update(piece));
    sum.digest().to_be_bytes()
}

/// Reads a file that someone may have shortened or changed.
#[derive(Debug)]
pub(super) struct LayoutReader<R> {
    from: R,
    manifest_at: u64,
    index_at: u64,
    chunks: u64,
}

impl<R: Read + Seek> LayoutReader<R> {
    /// Reads head and tail, and checks that they fit the length of the file.
    pub(super) fn new(mut from: R) -> Result<LayoutReader<R>, ReadError> {
        let length = from.seek(SeekFrom::End(0))?;
        from.rewind()?;
        let magic: [u8; 8] = read(&mut from)?;
        let version = u32::from_be_bytes(read(&mut from)?);
        if magic != MAGIC {
            return Err(ReadError::Damaged("it is no snapshot"));
        }
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let tail_at = length.checked_sub(TAIL_BYTES).filter(|at| *at >= HEAD_BYTES);
        from.seek(SeekFrom::Start(tail_at.ok_or(ReadError::Damaged("it ends too early"))?))?;
        let tail: [u8; 24] = read(&mut from)?;
        let (found, magic): ([u8; 8], [u8; 8]) = (read(&mut from)?, read(&mut from)?);
        if magic != MAGIC_AT_THE_END {
            return Err(ReadError::Damaged(
                "its end is not the end of a snapshot; the copy may not be whole",
            ));
        }
        if found != sum(&[&head(), &tail]) {
            return Err(ReadError::Damaged("the checksum of its tail is wrong"));
        }
        let mut numbers =
            tail.chunks_exact(8).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("chunks of eight")));
        let mut number = || numbers.next().expect("three of eight bytes");
        let (manifest_at, index_at, chunks) = (number(), number(), number());
        let reader = LayoutReader { from, manifest_at, index_at, chunks };
        let end = chunks.checked_mul(8).and_then(|bytes| index_at.checked_add(bytes));
        if end.and_then(|end| end.checked_add(TAIL_BYTES)) != Some(length) || manifest_at > index_at {
            return Err(ReadError::Damaged("its tail does not fit its length"));
        }
        Ok(reader)
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }

    pub(super) fn manifest(&mut self) -> Result<Bytes, ReadError> {
        self.record(self.manifest_at, MANIFEST)
    }

    pub(super) fn chunk(&mut self, index: u64) -> Result<Bytes, ReadError> {
        if index >= self.chunks {
            return Err(ReadError::Missing);
        }
        // Both fit, as the whole index lies within the file.
        self.from.seek(SeekFrom::Start(self.index_at + index * 8))?;
        let at = u64::from_be_bytes(read(&mut self.from)?);
        self.record(at, index)
    }

    fn record(&mut self, at: u64, number: u64) -> Result<Bytes, ReadError> {
        const WRONG: ReadError = ReadError::Damaged("a record is not where it should be");
        let room =
            self.index_at.checked_sub(at).and_then(|room| room.checked_sub(RECORD_HEAD_BYTES + SUM_BYTES));
        let room = room.ok_or(WRONG)?;
        self.from.seek(SeekFrom::Start(at))?;
        let (found, length): ([u8; 8], [u8; 8]) = (read(&mut self.from)?, read(&mut self.from)?);
        let bytes_len = u64::from_be_bytes(length);
        let fits = bytes_len <= room && bytes_len <= SNAPSHOT_CHUNK_BYTES_MAX as u64;
        let bytes_len = usize::try_from(bytes_len).ok().filter(|_| fits && found == number.to_be_bytes());
        let mut bytes = vec![0; bytes_len.ok_or(WRONG)?];
        self.from.read_exact(&mut bytes)?;
        let stored: [u8; 8] = read(&mut self.from)?;
        if stored != sum(&[&found, &length, &bytes]) {
            return Err(ReadError::Damaged("a checksum is wrong"));
        }
        Ok(bytes.into())
    }
}

fn read<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Two chunks and a manifest.
    fn small() -> Vec<u8> {
        let mut writer = LayoutWriter::new(Vec::new()).expect("memory");
        writer.chunk(b"first").expect("memory");
        writer.chunk(b"").expect("memory");
        writer.finish(b"manifest").expect("memory")
    }

    /// Everything in the file, or why it cannot be read.
    fn contents(file: &[u8]) -> Result<Vec<Bytes>, ReadError> {
        let mut reader = LayoutReader::new(Cursor::new(file))?;
        let chunks = (0..reader.chunks()).map(|index| reader.chunk(index)).collect::<Vec<_>>();
        chunks.into_iter().chain([reader.manifest()]).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let found = contents(&small()).expect("a whole file");
        assert_eq!(found, [&b"first"[..], b"", b"manifest"]);
        let mut reader = LayoutReader::new(Cursor::new(small())).expect("a whole file");
        assert!(matches!(reader.chunk(2), Err(ReadError::Missing)));
        let empty = LayoutWriter::new(Vec::new()).and_then(|writer| writer.finish(b"")).expect("memory");
        assert_eq!(contents(&empty).expect("a whole file"), [&b""[..]]);
    }

    #[test]
    fn a_file_cut_at_any_byte_is_damaged() {
        let whole = small();
        for length in 0..whole.len() {
            let cut = contents(&whole[..length]);
            assert!(matches!(cut, Err(ReadError::Damaged(_))), "{length}: {cut:?}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(matches!(contents(&longer), Err(ReadError::Damaged(_))));
    }

    #[test]
    fn a_file_with_any_bit_changed_is_damaged_and_never_read_wrongly() {
        let whole = small();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let found = contents(&changed);
                let version = (8..12).contains(&at);
                let expected = if version {
                    matches!(found, Err(ReadError::Version(_)))
                } else {
                    matches!(found, Err(ReadError::Damaged(_)))
                };
                assert!(expected, "bit {bit} of byte {at}: {found:?}");
            }
        }
    }

    #[test]
    fn forged_lengths_ask_for_no_memory() {
        // Well formed, and sealed with the right checksums: only the numbers lie.
        for (manifest_at, index_at, chunks) in [(12, 12, u64::MAX), (u64::MAX, 12, 0), (12, u64::MAX, 0)] {
            let mut file = head().to_vec();
            let tail = [manifest_at, index_at, chunks].map(u64::to_be_bytes).concat();
            file.extend_from_slice(&tail);
            file.extend_from_slice(&sum(&[&head(), &tail]));
            file.extend_from_slice(&MAGIC_AT_THE_END);
            assert!(matches!(contents(&file), Err(ReadError::Damaged(_))));
        }
        let mut file = small();
        file[12 + 8..12 + 16].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(matches!(contents(&file), Err(ReadError::Damaged(_))));
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let expected = [&b"ARCHISNP\0\0\0\x01"[..], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 5], b"first"].concat();
        let file = small();
        assert_eq!(file[..expected.len()], expected);
        // Head, two records of 24 bytes and their contents, the manifest's, two places, the tail.
        assert_eq!(file.len(), 12 + (24 + 5) + 24 + (24 + 8) + 16 + 40);
        assert_eq!(&file[file.len() - 8..], b"ARCHIEND");
    }
}
