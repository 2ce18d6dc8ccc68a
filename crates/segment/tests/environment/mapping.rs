//! How a segment is mapped: by huge pages, and left out of core dumps.

use crate::as_root;
use crate::harness::{Name, alone};
use crate::journal::{Journal, configuration};
use rustix::fs::FlockOperation;
use shmkit_process::spawn;
use shmkit_segment::{Options, Role, Segment};
use std::fs::File;

const MIB: usize = 1 << 20;
const RESERVED: &str = "/proc/sys/vm/nr_hugepages";

/// What the kernel says about the only mapping of a segment in this process, under `name`.
fn field(segment: &Segment<Journal>, name: &str) -> String {
    let status = rustix::fs::fstat(segment.as_file().unwrap()).unwrap();
    let (major, minor) = (rustix::fs::major(status.st_dev), rustix::fs::minor(status.st_dev));
    let file = format!(" {major:02x}:{minor:02x} {} ", status.st_ino);
    let mappings = std::fs::read_to_string("/proc/self/smaps").unwrap();
    // A line with addresses and a file begins a mapping, those that follow have a name and a colon.
    let mut found = mappings.lines().skip_while(|line| !line.contains(&file));
    let value = found.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim();
    assert!(!found.any(|line| line.contains(&file)));
    value.to_owned()
}

fn is_dumped(segment: &Segment<Journal>) -> bool {
    !field(segment, "VmFlags").split(' ').any(|flag| flag == "dd")
}

#[test]
fn a_segment_is_left_out_of_core_dumps_by_all_who_attach_if_its_creator_says_so() {
    alone(|()| {
        let name = Name::new();
        for dump in [true, false] {
            let named = Options::new().dump(dump).name(&name.0);
            let segment = named.create::<Journal>(configuration(64)).unwrap();
            assert_eq!(is_dumped(&segment), dump);
            // It is the creator's wish that counts.
            let look = |name: String| is_dumped(&Options::new().name(name).open::<Journal>().unwrap());
            assert_eq!(spawn(look, name.0.clone()).unwrap().join().unwrap(), dump);
            drop(segment);
            std::fs::remove_file(name.path()).unwrap();

            let segment = Options::new().dump(dump).anonymous::<Journal>(configuration(64)).unwrap();
            assert_eq!(is_dumped(&segment), dump);
            let look = |role: Role<Journal>| is_dumped(role.segment());
            assert_eq!(spawn(look, segment.role(0)).unwrap().join().unwrap(), dump);
        }
    });
}

/// Page size in KiB and length of a segment of `bytes`, as its creator and as a child that it is passed to see it.
fn pages_and_length(bytes: usize) -> (String, usize) {
    let options = Options::new().huge_pages(true);
    let segment = options.clone().anonymous::<Journal>(configuration(bytes as u64 / 4)).unwrap();
    assert!(segment.length() >= options.length::<Journal>(segment.configuration()).unwrap());
    let look = |role: Role<Journal>| {
        drop(role.segment().join().unwrap());
        (field(role.segment(), "KernelPageSize"), role.segment().length())
    };
    let ours = (field(&segment, "KernelPageSize"), segment.length());
    assert_eq!(spawn(look, segment.role(0)).unwrap().join().unwrap(), ours);
    assert_eq!((segment.peer_count(), segment.object().events().len()), (1, 5));
    ours
}

/// Until it is dropped, no other test uses up the machine's huge pages.
fn have_the_huge_pages_alone() -> Option<File> {
    let file = File::open(RESERVED).ok()?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
    Some(file)
}

#[test]
fn a_segment_that_finds_no_huge_pages_has_ordinary_ones() {
    alone(|()| {
        let _turn = have_the_huge_pages_alone();
        // More than there can be.
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
        let free = memory.lines().find_map(|line| line.strip_prefix("HugePages_Free:")).map_or("0", str::trim);
        let bytes = (free.parse::<usize>().unwrap() + 1) * 2 * MIB;
        let (page, length) = pages_and_length(bytes);
        assert_eq!(page, "4 kB");
        assert_eq!(length, Options::new().length::<Journal>(configuration(bytes as u64 / 4)).unwrap());

        let name = Name::new();
        let named = Options::new().huge_pages(true).name(&name.0);
        let segment = named.create::<Journal>(configuration(MIB as u64)).unwrap();
        assert_eq!(named.open::<Journal>().unwrap().length(), segment.length());
    });
}

/// Reserves huge pages, for all of the machine, until it is dropped.
struct Reservation(String);

impl Reservation {
    /// `None` if they cannot be had.
    fn of(pages: usize) -> Option<Self> {
        let reservation = Self(std::fs::read_to_string(RESERVED).ok()?);
        let before: usize = reservation.0.trim().parse().ok()?;
        std::fs::write(RESERVED, (before + pages).to_string()).ok()?;
        let after: usize = std::fs::read_to_string(RESERVED).ok()?.trim().parse().ok()?;
        (after == before + pages).then_some(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let _ = std::fs::write(RESERVED, &self.0);
    }
}

#[test]
fn a_segment_takes_reserved_huge_pages_and_everybody_sees_the_same_length() {
    as_root(|()| {
        let page = std::fs::read_to_string("/proc/meminfo").unwrap();
        let has_pages_of_2_mib =
            page.lines().any(|line| line.starts_with("Hugepagesize:") && line.contains(" 2048 kB"));
        let _turn = have_the_huge_pages_alone();
        let Some(_reservation) = Reservation::of(2).filter(|_| has_pages_of_2_mib) else {
            println!("skipped: there is no memory for huge pages");
            return;
        };
        assert_eq!(pages_and_length(MIB), ("2048 kB".to_owned(), 2 * MIB));
        assert_eq!(pages_and_length(3 * MIB), ("2048 kB".to_owned(), 4 * MIB));
        // They are given back each time, and what needs more of them than there are has none.
        assert_eq!(pages_and_length(4 * MIB).0, "4 kB");
        assert_eq!(pages_and_length(3 * MIB), ("2048 kB".to_owned(), 4 * MIB));
    });
}
