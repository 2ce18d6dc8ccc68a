//! What a word is, and how to count words without holding more than a chunk of the text.
//!
//! A *word* is a longest run of characters that Unicode calls alphabetic or numeric ([`char::is_alphanumeric`]), in
//! lower case, each character by itself ([`char::to_lowercase`]). So `Don't` is `don` and `t`, `snake_case` is `snake` and
//! `case`, and the words of a script that does not separate them are its phrases.
//!
//! A run of more than [`LONGEST`] characters is one word, named by its first [`LONGEST`]: without a limit, one long line
//! of digits would have to be held in full.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};

/// So many characters of a word tell it from others.
pub const LONGEST: usize = 256;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// What was counted, and what could not be.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often each word occurs.
    pub words: HashMap<String, u64>,
    /// How many files were counted.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Which files were not counted, and why. Nothing of them is in the other fields.
    pub skipped: Vec<(OsString, String)>,
}

impl Tally {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: Tally) {
        if self.words.is_empty() {
            self.words = other.words;
        } else {
            for (word, count) in other.words {
                *self.words.entry(word).or_default() += count;
            }
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self.skipped.extend(other.skipped);
    }
}

/// Counts the words of a text, which is read in chunks of any size and starts at byte `start` of its file.
///
/// ```
/// let tally = shmkit_examples::words::count("One and ONE: two.".as_bytes(), 0)?;
/// assert_eq!((tally.words["one"], tally.words["and"], tally.words["two"]), (2, 1, 1));
/// assert_eq!((tally.words.len(), tally.bytes), (3, 17));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What `text` gives; [`ErrorKind::InvalidData`] if it is not UTF-8, with the place in the file.
pub fn count(mut text: impl Read, start: u64) -> io::Result<Tally> {
    let mut counter = Counter::default();
    let mut position = start;
    let mut buffer = vec![0; CHUNK];
    // The first bytes of a character whose others are in the next chunk: at most three, at the start of the buffer.
    let mut held = 0;
    loop {
        let read = match text.read(&mut buffer[held..]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let filled = held + read;
        let complete = match str::from_utf8(&buffer[..filled]) {
            Ok(_) => filled,
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(not_utf8(position + error.valid_up_to() as u64)),
        };
        counter.feed(str::from_utf8(&buffer[..complete]).map_err(io::Error::other)?);
        position += complete as u64;
        buffer.copy_within(complete..filled, 0);
        held = filled - complete;
    }
    if held > 0 {
        return Err(not_utf8(position));
    }
    Ok(Tally { words: counter.finish(), files: 1, bytes: position - start, skipped: Vec::new() })
}

fn not_utf8(position: u64) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not UTF-8 at byte {position}"))
}

/// The words of a text that comes in pieces.
#[derive(Default)]
struct Counter {
    words: HashMap<String, u64>,
    /// The word that the latest piece ended in, and how long it is, with what is beyond the limit.
    word: String,
    length: usize,
}

impl Counter {
    fn feed(&mut self, text: &str) {
        for character in text.chars() {
            if !character.is_alphanumeric() {
                self.end_word();
                continue;
            }
            self.length += 1;
            if self.length > LONGEST {
                continue;
            }
            if character.is_ascii() {
                self.word.push(character.to_ascii_lowercase());
            } else {
                self.word.extend(character.to_lowercase());
            }
        }
    }

    fn end_word(&mut self) {
        if self.length == 0 {
            return;
        }
        // Most words have been seen before, and need no key of their own.
        match self.words.get_mut(&self.word) {
            Some(count) => *count += 1,
            None => _ = self.words.insert(self.word.clone(), 1),
        }
        self.word.clear();
        self.length = 0;
    }

    fn finish(mut self) -> HashMap<String, u64> {
        self.end_word();
        self.words
    }
}
