//! `src/words.rs`: what a word is, and that chunks do not matter.

use proptest::prelude::*;
use shmkit_examples::words::{LONGEST, Tally, count};
use std::collections::HashMap;
use std::io::{ErrorKind, Read};

/// The definition, applied to a text as a whole.
fn words_of(text: &str) -> HashMap<String, u64> {
    let mut words = HashMap::new();
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let name: String = word.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
        *words.entry(name).or_default() += 1;
    }
    words
}

/// Gives at most so many bytes at once.
struct Chunks<'a>(&'a [u8], usize);

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = buffer.len().min(self.1);
        self.0.read(&mut buffer[..size])
    }
}

fn in_chunks(text: &[u8], size: usize) -> std::io::Result<Tally> {
    count(Chunks(text, size), 0)
}

#[test]
fn letters_and_digits_of_any_script_make_words_without_case() {
    let tally = count("Don't: STRASSE Straße straße 42 x2, naïve_naïve Ünï".as_bytes(), 0).unwrap();
    let mut words: Vec<(&str, u64)> = tally.words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
    words.sort_unstable();
    assert_eq!(
        words,
        [("42", 1), ("don", 1), ("naïve", 2), ("strasse", 1), ("straße", 2), ("t", 1), ("x2", 1), ("ünï", 1)]
    );
}

#[test]
fn words_and_characters_are_carried_over_the_borders_of_chunks() {
    let text = "aé數𝒳 Größe—größe 𝟙𝟚 x";
    for size in 1..=text.len() {
        let tally = in_chunks(text.as_bytes(), size).unwrap();
        assert_eq!((tally.words, tally.bytes), (words_of(text), text.len() as u64), "{size}");
    }
}

#[test]
fn characters_are_carried_over_the_border_of_the_real_buffer() {
    for shift in 0..8 {
        let text = " ".repeat((64 << 10) - shift) + "größe𝒳𝒳 x";
        assert_eq!(count(text.as_bytes(), 0).unwrap().words, words_of(&text), "{shift}");
    }
}

#[test]
fn a_long_word_is_held_only_up_to_the_limit() {
    let text = "ä".repeat(LONGEST + 1) + " " + &"ä".repeat(1_000_000) + " " + &"ä".repeat(LONGEST);
    assert_eq!(count(text.as_bytes(), 0).unwrap().words, HashMap::from([("ä".repeat(LONGEST), 3)]));
}

#[test]
fn the_place_of_what_is_not_utf8_is_told() {
    for (text, place) in [(&b"ab\xffcd"[..], 2), (b"\xc3", 0), (b"abc\xe2\x82", 3), (b"\xe2\x82x", 0), (b"x\x80", 1)] {
        for size in 1..=text.len() {
            let error = in_chunks(text, size).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::InvalidData, format!("not UTF-8 at byte {place}"))
            );
        }
    }
    assert_eq!(count(&b"\xff"[..], 70).unwrap_err().to_string(), "not UTF-8 at byte 70");
}

#[test]
fn an_interrupted_read_is_tried_again() {
    struct Interrupted(bool);
    impl Read for Interrupted {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.0, true) { Ok(0) } else { Err(ErrorKind::Interrupted.into()) }
        }
    }
    assert_eq!(count(Interrupted(false), 0).unwrap().bytes, 0);
}

proptest! {
    #[test]
    fn any_text_in_chunks_of_any_size_gives_the_words_of_the_whole(text in any::<String>(), size in 1_usize..40) {
        prop_assert_eq!(in_chunks(text.as_bytes(), size).unwrap().words, words_of(&text));
    }

    #[test]
    fn any_bytes_are_accepted_if_and_only_if_they_are_utf8(bytes in any::<Vec<u8>>(), size in 1_usize..8) {
        let outcome = in_chunks(&bytes, size);
        match str::from_utf8(&bytes) {
            Ok(text) => prop_assert_eq!(outcome.unwrap().words, words_of(text)),
            Err(error) => {
                let place = format!("not UTF-8 at byte {}", error.valid_up_to());
                prop_assert_eq!(outcome.unwrap_err().to_string(), place);
            }
        }
    }
}
