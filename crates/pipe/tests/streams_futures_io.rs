//! The traits of the crate `futures-io`, on smol, between processes and dropped in the middle.
#![cfg(not(loom))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;

use company::start;
use shmkit_pipe::{Reader, Writer, pipe_with};
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use smol::stream::StreamExt;
use std::future::Future;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::pin::pin;
use std::task::{Context, Waker};

const LENGTH: usize = 3_000_001;

#[test]
fn what_is_copied_through_a_pipe_to_a_process_and_back_is_the_same() {
    fn back((mut reader, mut writer): (Reader, Writer)) -> u64 {
        std::io::copy(&mut reader, &mut writer).unwrap()
    }
    for capacity in [64, 1 << 12, 1 << 18] {
        let ((mut there, reader), (writer, mut here)) = (pipe_with(capacity).unwrap(), pipe_with(capacity).unwrap());
        let child = start(back, (reader, writer));
        let bytes = content::bytes(0, if capacity == 64 { LENGTH / 50 } else { LENGTH });
        let found = smol::block_on(async {
            let sending = async {
                smol::io::copy(&bytes[..], &mut there).await.unwrap();
                there.close().await.unwrap();
            };
            let mut found = Vec::new();
            let receiving = async { smol::io::copy(&mut here, &mut found).await.unwrap() };
            assert_eq!(smol::future::zip(sending, receiving).await.1, bytes.len() as u64);
            found
        });
        assert_eq!(child.join().unwrap(), bytes.len() as u64);
        assert!(found == bytes);
    }
}

#[test]
fn lines_are_read_in_place() {
    fn write(mut writer: Writer) {
        use std::io::Write;
        (0..1_000).for_each(|number| writeln!(writer, "line {number}").unwrap());
    }
    let (writer, reader) = pipe_with(64).unwrap();
    let child = start(write, writer);
    let lines: Vec<_> = smol::block_on(reader.lines().map(Result::unwrap).collect());
    assert!(lines.into_iter().eq((0..1_000).map(|number| format!("line {number}"))));
    child.join().unwrap();
}

#[test]
fn slices_are_written_and_read_one_after_the_other() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    smol::block_on(async {
        let slices = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b" and two")];
        assert_eq!(writer.write_vectored(&slices).await.unwrap(), 11);
        writer.flush().await.unwrap();
        let (mut first, mut second) = ([0; 4], [0; 20]);
        let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(reader.read_vectored(&mut slices).await.unwrap(), 11);
        assert_eq!((&first, &second[..7]), (b"one ", &b"and two"[..]));
    });
}

#[test]
fn the_ends_are_told_of_each_others_leaving() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    smol::block_on(async {
        writer.write_all(b"last").await.unwrap();
        writer.close().await.unwrap();
        assert!(writer.write_all(b"more").await.is_err());
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last");
    });
    let (mut writer, reader) = pipe_with(64).unwrap();
    smol::block_on(async {
        writer.write_all(&[0; 64]).await.unwrap();
        let leaving = async { drop(reader) };
        let (outcome, ()) = smol::future::zip(writer.write(b"more"), leaving).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn futures_that_are_dropped_have_read_and_written_nothing() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut buffer = [0; 100];
    assert!(pin!(AsyncReadExt::read(&mut reader, &mut buffer)).poll(&mut context).is_pending());
    assert!(pin!(AsyncBufReadExt::fill_buf(&mut reader)).poll(&mut context).is_pending());
    std::io::Write::write_all(&mut writer, &content::bytes(0, 64)).unwrap();
    assert!(pin!(AsyncWriteExt::write(&mut writer, b"never")).poll(&mut context).is_pending());
    drop(writer);
    let mut found = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut found).unwrap();
    assert_eq!(found.len(), 64);
    content::check(0, &found);
}
