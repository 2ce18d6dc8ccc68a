//! `src/files.rs`: which files are listed, and how they become jobs.

use shmkit_examples::files::{Assembly, Job, Listing, count_file};
use shmkit_examples::words::Tally;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn listed<const N: usize>(paths: [&Path; N]) -> Vec<PathBuf> {
    Listing::of(&paths.map(Path::to_path_buf)).files.into_iter().map(|(path, _)| path).collect()
}

fn write(root: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn what_a_gitignore_names_is_left_out_unless_it_is_named_itself() {
    let root = tempfile::tempdir().unwrap();
    let rules = write(&root, ".gitignore", "target*\n");
    let kept = write(&root, "kept", "x");
    let ignored = write(&root, "target-a/file", "x");
    write(&root, ".git/file", "x");
    assert_eq!(listed([root.path()]), [&*rules, &kept]);
    assert_eq!(listed([&ignored]), [&*ignored]);
    assert_eq!(listed([&root.path().join("target-a")]), [&*ignored]);
    assert_eq!(listed([root.path(), &ignored, &kept]), [&*rules, &kept, &ignored, &kept]);
}

#[test]
fn a_symbolic_link_is_followed_only_if_it_is_named_itself() {
    let root = tempfile::tempdir().unwrap();
    let (file, directory) = (write(&root, "elsewhere/file", "x"), root.path().join("elsewhere"));
    let below = root.path().join("below");
    fs::create_dir(&below).unwrap();
    let (to_file, to_directory) = (below.join("file"), below.join("directory"));
    std::os::unix::fs::symlink(&file, &to_file).unwrap();
    std::os::unix::fs::symlink(&directory, &to_directory).unwrap();
    assert!(listed([&below]).is_empty());
    assert_eq!(listed([&to_file, &to_directory]), [&*to_file, &to_directory.join("file")]);
}

#[test]
fn what_cannot_be_listed_is_named_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let dangling = root.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let listing = Listing::of(&[dangling.clone(), "/dev/null".into()]);
    assert!(listing.files.is_empty());
    assert_eq!(listing.skipped[0], (dangling.into(), "No such file or directory (os error 2)".to_owned()));
    assert_eq!(listing.skipped[1], ("/dev/null".into(), "neither a file nor a directory".to_owned()));
}

#[test]
fn a_file_that_vanishes_after_the_listing_is_skipped_alone() {
    let root = tempfile::tempdir().unwrap();
    write(&root, "a", "one");
    let vanishing = write(&root, "b", "two");
    write(&root, "c", "three");
    let listing = Listing::of(&[root.path().to_path_buf()]);
    fs::remove_file(&vanishing).unwrap();
    let mut tally = Tally::default();
    for job in Job::plan(&listing.files, 1) {
        tally.merge(job.count());
    }
    assert_eq!((tally.files, tally.bytes, tally.words.len()), (2, 8, 2));
    assert_eq!(tally.skipped, [(vanishing.into(), "No such file or directory (os error 2)".to_owned())]);
}

#[test]
fn jobs_are_bounded_in_files_bytes_and_paths() {
    let named = |count: usize, name: &str, length| -> Vec<(PathBuf, u64)> {
        (0..count).map(|number| (PathBuf::from(format!("{name}{number}")), length)).collect()
    };
    let files_of = |jobs: Vec<Job>| -> Vec<u64> { jobs.iter().map(Job::files).collect() };
    assert!(Job::plan(&[], 2).is_empty());
    assert_eq!(files_of(Job::plan(&named(16 * 64 + 1, "short", 10), 2)).first(), Some(&64));
    assert_eq!(files_of(Job::plan(&named(20, "short", 10), 2)), [2; 10]);
    assert_eq!(files_of(Job::plan(&named(32, "large", 3 << 20), 1)), [1; 32]);
    // The longest paths that can be opened.
    assert_eq!(files_of(Job::plan(&named(512, &"p".repeat(4090), 10), 1)), [8; 64]);
}

/// Cuts a file into parts of about `size` bytes, and puts together what they count.
fn count_in_parts(path: &Path, size: u64) -> (usize, Tally) {
    let jobs = Job::parts(path, path.metadata().unwrap().len(), size);
    let mut assembly = Assembly::default();
    for job in &jobs {
        assembly.add(job, job.count());
    }
    (jobs.len(), assembly.finish())
}

#[test]
fn parts_count_what_the_whole_counts() {
    let root = tempfile::tempdir().unwrap();
    let text = "Straße, naïve_CAFÉ; 数据 слово. one two\u{3000}three\n".repeat(400);
    let path = write(&root, "text", &text);
    let whole = count_file(&path).unwrap();
    for size in [1, 7, 64, 1000, 4096, text.len() as u64 - 1] {
        let (parts, tally) = count_in_parts(&path, size);
        assert!(parts > 1, "{size}");
        assert_eq!(tally, whole, "{size}");
    }
    assert_eq!(count_in_parts(&path, text.len() as u64), (1, whole));
}

#[test]
fn where_no_word_ends_there_is_no_cut() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "line", "x".repeat(100_000));
    let (parts, tally) = count_in_parts(&path, 10_000);
    assert_eq!((parts, tally.words.values().sum::<u64>(), tally.bytes), (1, 1, 100_000));
}

#[test]
fn a_file_with_one_bad_part_is_skipped_whole_and_once() {
    let root = tempfile::tempdir().unwrap();
    let mut text = "word ".repeat(1000).into_bytes();
    text[2500] = 0xff;
    text[4000] = 0xff;
    let path = write(&root, "text", &text);
    let (parts, tally) = count_in_parts(&path, 500);
    assert_eq!(parts, 10);
    assert_eq!((tally.files, tally.bytes, tally.words.len()), (0, 0, 0));
    assert_eq!(tally.skipped, [(path.into(), "not UTF-8 at byte 2500".to_owned())]);
}

#[test]
fn a_part_of_a_file_that_has_shrunk_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let path = write(&root, "text", "word ".repeat(1000));
    let jobs = Job::parts(&path, 5000, 1000);
    fs::write(&path, "short").unwrap();
    assert_eq!(jobs.iter().map(|job| job.count().bytes).sum::<u64>(), 5);
}
