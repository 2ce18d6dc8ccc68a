//! The parts of the example `word_count` that know nothing of processes: what a word is, and how a tree of
//! files becomes jobs of a sensible size.
//!
//! The other examples are single files and need nothing from here.
#![forbid(unsafe_code)]

pub mod files;
pub mod words;
