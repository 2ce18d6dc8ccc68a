//! Holds `docs/layout.md` to what pipes and connections write into their segments: each field of a ring is found where the page says.
#![cfg(not(any(loom, feature = "portable")))]

use shmkit_pipe::{
    Duplex, Pipe, Settings, Stranger, Trust, Writer, duplex_with_capacity, pipe_for_strangers, pipe_with,
};
use shmkit_segment::{Object, Options, Segment};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::{self, yield_now};

/// The page, unless this crate is built without the repository that it comes from.
fn page() -> Option<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page =
        || std::fs::read_to_string(repository.join("docs/layout.md")).expect("the repository has docs/layout.md");
    repository.join("ARCHITECTURE.md").exists().then(page)
}

/// Size of a ring without its areas, and the offset and the size of each of its fields.
fn ring(page: &str) -> (u64, BTreeMap<&str, (u64, usize)>) {
    let (_, section) = page.split_once("\n## `Ring`: ").expect("a section on rings");
    let (size, section) = section.split_once(" bytes\n").expect("a size");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let row = |line| {
        let cells: Vec<&str> = str::split(line, '|').map(str::trim).collect();
        let [_, offset, size, field, _meaning, _] = cells[..] else { panic!("not four columns: {line}") };
        (field.trim_matches('`'), (offset.parse().expect(line), size.parse().expect(line)))
    };
    // Head and rule come first.
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2).map(row);
    (size.parse().expect("a number"), rows.collect())
}

/// What lies in a segment.
struct Bytes {
    file: File,
    object: u64,
}

impl Bytes {
    fn of<O: Object>(segment: &Segment<O>) -> Self {
        let file = File::from(segment.as_file().unwrap().try_clone_to_owned().unwrap());
        let bytes = Self { file, object: 0 };
        let [peers] = bytes.at(20, 4)[..] else { panic!("one word") };
        Self { object: 384 + 128 * peers, ..bytes }
    }

    /// `size` bytes as numbers of eight bytes, or one of four.
    fn at(&self, offset: u64, size: usize) -> Vec<u64> {
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.object + offset).unwrap();
        bytes.chunks(8).map(|chunk| chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))).collect()
    }

    fn text(&self, offset: u64, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.object + offset).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The four letters in the header.
    fn kind(&self) -> String {
        Self { file: self.file.try_clone().unwrap(), object: 0 }.text(16, 4)
    }
}

#[test]
fn a_pipe_is_where_the_page_says() {
    let Some(page) = page() else { return };
    let (ends, fields) = ring(&page);
    let (mut writer, mut reader) = pipe_with(Settings::new(64).up_to(256)).unwrap();
    let bytes = Bytes::of(writer.segment());
    let field = |name| bytes.at(fields[name].0, fields[name].1);
    writer.write_all(b"hello").unwrap();
    reader.read_exact(&mut [0; 2]).unwrap();
    assert_eq!((field("tail"), field("head")), (vec![5], vec![2]));
    assert_eq!(bytes.text(ends, 5), "hello");

    writer.grow(256).unwrap();
    writer.write_all(b"there").unwrap();
    assert_eq!((field("tail area"), field("head area")), (vec![2], vec![0]));
    assert_eq!(field("starts"), [[5, 5].as_slice(), &[0; 12]].concat());
    // Area 0 has 64 bytes, area 1 has 128. Position 5 of area 2 is its fifth byte.
    assert_eq!(bytes.text(ends + 64 + 128 + 5, 5), "there");
    reader.read_exact(&mut [0; 8]).unwrap();
    assert_eq!(field("head area"), [2]);
    assert_eq!(fields.len(), 7);
}

#[test]
fn who_sleeps_in_a_pipe_sleeps_where_the_page_says() {
    let Some(page) = page() else { return };
    let (ends, fields) = ring(&page);
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    let bytes = Bytes::of(writer.segment());
    let words = || bytes.at(0, ends as usize);
    // Who is about to sleep changes one word of the ring, and nothing else.
    let changed = |before: Vec<u64>| {
        while words() == before {
            yield_now();
        }
        let differs = |(index, (now, before))| (now != before).then_some(8 * index as u64);
        words().into_iter().zip(before).enumerate().filter_map(differs).collect::<Vec<_>>()
    };
    let before = words();
    let place = thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read_exact(&mut [0; 1]).unwrap());
        let place = changed(before);
        writer.write_all(b"x").unwrap();
        reading.join().unwrap();
        place
    });
    assert_eq!((place, fields["data"].1), (vec![fields["data"].0], 4));
    writer.write_all(&[0; 64]).unwrap();
    let before = words();
    let place = thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(b"x").unwrap());
        let place = changed(before);
        reader.read_exact(&mut [0; 1]).unwrap();
        writing.join().unwrap();
        place
    });
    assert_eq!((place, fields["space"].1), (vec![fields["space"].0], 4));
}

#[test]
fn a_connection_is_where_the_page_says() {
    let Some(page) = page() else { return };
    let (ends, fields) = ring(&page);
    let (mut one, mut other) = duplex_with_capacity(256).unwrap();
    let bytes = Bytes::of(one.segment());
    one.send_bytes(b"hello").unwrap();
    other.send_bytes(b"and good day").unwrap();
    let rings = [0, ends + 256];
    assert_eq!(rings.map(|ring| bytes.at(ring + fields["tail"].0, 8)), [[16], [24]]);
    // WHOLE, no descriptors, and the length.
    assert_eq!(rings.map(|ring| bytes.at(ring + ends, 8)), [[1 | 5 << 16], [1 | 12 << 16]]);
    assert_eq!(bytes.text(rings[0] + ends + 8, 5), "hello");
    assert_eq!(bytes.text(rings[1] + ends + 8, 12), "and good day");
    other.recv_bytes().unwrap();
    assert_eq!(rings.map(|ring| bytes.at(ring + fields["head"].0, 8)), [[16], [0]]);

    // Longer than is sent as a whole: a part of it, in front of which the length of all stands.
    let long = [b'x'; 1000];
    assert!(one.send_bytes_timeout(&long, std::time::Duration::ZERO).is_err());
    assert_eq!(bytes.at(ends + 16, 8), [2 | 1000 << 16]);
    assert_eq!(bytes.at(ends + 24, 8)[0] & 0xffff, 3);
    // It was given up, which is said when there is something else to be sent.
    while other.try_recv_bytes().is_ok() {}
    let tail = bytes.at(fields["tail"].0, 8)[0];
    one.send_bytes(b"again").unwrap();
    assert_eq!(bytes.at(ends + tail % 256, 8), [4]);
    assert_eq!(other.recv_bytes().unwrap(), b"again");
}

fn kind_of<T: Trust>(writer: &Writer<T>) -> String {
    Bytes::of(writer.segment()).kind()
}

#[test]
fn the_kinds_and_the_lengths_are_those_that_the_page_gives() {
    let Some(page) = page() else { return };
    let (ends, _) = ring(&page);
    let of_pipes = [kind_of(&pipe_with(64).unwrap().0), kind_of(&pipe_for_strangers(64).unwrap().0)];
    let of_connections = Bytes::of(duplex_with_capacity(256).unwrap().0.segment()).kind();
    assert_eq!((of_pipes, of_connections.as_str()), (["PIPF", "PIPS"].map(str::to_owned), "DUPF"));
    for kind in ["PIPF", "PIPS", "DUPF", "DUPS"] {
        assert!(page.contains(&format!("`{kind}`")));
    }
    assert!(page.contains(&format!("{} + 128n", 384 + ends)));
    for peers in [1, 2, 64] {
        let object = 384 + 128 * peers;
        let options = Options::new().peers(peers);
        let pipe = |settings: Settings| options.length::<Pipe<Stranger>>(settings.into()).unwrap();
        assert_eq!(pipe(Settings::new(1 << 12)), object + 512 + (1 << 12));
        assert_eq!(pipe(Settings::new(64).up_to(512)), object + 512 + 64 + 128 + 256 + 512);
        assert_eq!(pipe(Settings::new(1).up_to(4)), object + 512 + 64 + 2 + 4);
        let duplex = options.length::<Duplex<Stranger>>([1 << 12, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(duplex, object + 2 * (512 + (1 << 12)));
    }
}
