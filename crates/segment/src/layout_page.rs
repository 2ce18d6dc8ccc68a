//! Holds `docs/layout.md` to the structs that it describes: every row of its tables, and every field.

use crate::header::{Header, Identity, LAYOUT_VERSION, MAGIC, MAX_PEERS, NAME, PeerEntry, READY, Signature, Start};
use crate::{Configuration, Error, Memory, Object, Options, PeerId, Plan};
use std::mem::offset_of;
use std::path::Path;

/// Offset, size and name.
type Field = (usize, usize, String);

/// All fields of a struct.
macro_rules! fields {
    ($name:ident { $($field:ident),* $(,)? }) => {{
        // Does not compile unless these are all there are.
        fn _all($name { $($field: _),* }: &$name) {}
        fn size<F>(_: fn(&$name) -> &F) -> usize {
            size_of::<F>()
        }
        vec![$((offset_of!($name, $field), size(|whole| &whole.$field), stringify!($field).to_owned())),*]
    }};
}

/// The page, unless this crate is built without the repository that it comes from.
fn page() -> Option<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if !repository.join("ARCHITECTURE.md").exists() {
        return None;
    }
    Some(std::fs::read_to_string(repository.join("docs/layout.md")).expect("the repository has docs/layout.md"))
}

/// The size that the heading of a struct's section gives, and the rows of the table below it.
fn section(page: &str, name: &str) -> (usize, Vec<Field>) {
    let heading = format!("## `{name}`: ");
    let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let size = section.split_once(" bytes\n").and_then(|(size, _)| size.parse().ok()).expect("a size in the heading");
    // Head and rule come first.
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2).map(row);
    (size, rows.collect())
}

fn row(line: &str) -> Field {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, offset, size, field, _meaning, _] = cells[..] else { panic!("not four columns: {line}") };
    let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{cell:?} is not a number: {line}"));
    (number(offset), number(size), field.trim_matches('`').to_owned())
}

#[test]
fn every_field_is_where_the_page_says() {
    let Some(page) = page() else { return };
    let identity = fields!(Identity {
        magic,
        version,
        architecture,
        kind,
        peers,
        payload,
        tag,
        length,
        boot,
        created,
        configuration,
    });
    let header = fields!(Header { identity, ready, advice, looked, sides, reserved });
    let peer = fields!(PeerEntry { state, generation, roles, signature, reserved });
    let signature = fields!(Signature { pid, namespace, started, name });
    assert_eq!(section(&page, "Identity"), (size_of::<Identity>(), identity));
    assert_eq!(section(&page, "Header"), (size_of::<Header>(), header));
    assert_eq!(section(&page, "PeerEntry"), (size_of::<PeerEntry>(), peer));
    assert_eq!(section(&page, "Signature"), (size_of::<Signature>(), signature));
}

#[test]
fn what_a_field_must_hold_is_what_the_page_says() {
    let Some(page) = page() else { return };
    let says = |what: String| assert!(page.contains(&what), "the page does not say {what:?}");
    says(format!("Version {LAYOUT_VERSION}."));
    says(format!("`ready` | `{READY:#010x}`"));
    says(format!("1 to {MAX_PEERS}."));
    says(format!("The start of the header, {} bytes,", size_of::<Start>()));
    assert_eq!(MAGIC.to_ne_bytes(), *b"shmkit\0\0");
    assert_eq!(NAME, 32);
}

/// Has no parts, so that what is before an object is all there is.
struct Nothing;

impl Object for Nothing {
    const KIND: u32 = 1;
    const HARDENED: bool = true;
    type Parts = ();

    fn payload() -> std::alloc::Layout {
        std::alloc::Layout::new::<()>()
    }
    fn plan(_: &Configuration, _: &mut Plan) -> Result<(), Error> {
        Ok(())
    }
    fn attach(_: &Memory, _: &()) -> Self {
        Self
    }
    fn sweep(&self, _dead: PeerId, _reaper: PeerId) {}
    fn wake_all(&self) {}
}

#[test]
fn the_object_starts_where_the_page_says() {
    let Some(page) = page() else { return };
    assert!(page.contains("384 + 128n"));
    for peers in [1, 2, 64, MAX_PEERS] {
        assert_eq!(Options::new().peers(peers).length::<Nothing>([0; 8]).unwrap(), 384 + 128 * peers);
    }
}
