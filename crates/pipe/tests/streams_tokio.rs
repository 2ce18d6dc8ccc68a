//! The traits of tokio, between processes and dropped in the middle.
#![cfg(not(loom))]

#[path = "../../sync/tests/company/mod.rs"]
mod company;
mod content;
#[path = "../../queue/tests/polling/mod.rs"]
mod polling;

use company::start;
use polling::on_tokio;
use shmkit_pipe::{Reader, Writer, pipe_with};
use std::future::Future;
use std::io::{ErrorKind, IoSlice};
use std::pin::pin;
use std::task::{Context, Waker};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const LENGTH: usize = 3_000_001;

#[test]
fn what_is_copied_through_a_pipe_to_a_process_and_back_is_the_same() {
    fn back((mut reader, mut writer): (Reader, Writer)) -> u64 {
        std::io::copy(&mut reader, &mut writer).unwrap()
    }
    for capacity in [64, 1 << 12, 1 << 18] {
        let ((there, reader), (writer, here)) = (pipe_with(capacity).unwrap(), pipe_with(capacity).unwrap());
        let child = start(back, (reader, writer));
        let length = if capacity == 64 { LENGTH / 50 } else { LENGTH };
        let found = on_tokio(async move {
            let (mut there, mut here) = (there, here);
            let sending = tokio::spawn(async move {
                let bytes = content::bytes(0, length);
                assert_eq!(tokio::io::copy(&mut &bytes[..], &mut there).await.unwrap(), length as u64);
                there.shutdown().await.unwrap();
            });
            let mut found = Vec::new();
            tokio::io::copy(&mut here, &mut found).await.unwrap();
            sending.await.unwrap();
            found
        });
        assert_eq!((found.len(), child.join().unwrap()), (length, length as u64));
        content::check(0, &found);
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
    on_tokio(async move {
        let mut lines = reader.lines();
        for number in 0..1_000 {
            assert_eq!(lines.next_line().await.unwrap(), Some(format!("line {number}")));
        }
        assert_eq!(lines.next_line().await.unwrap(), None);
    });
    child.join().unwrap();
}

#[test]
fn slices_are_written_one_after_the_other() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    on_tokio(async move {
        assert!(writer.is_write_vectored());
        let slices = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b" and two")];
        assert_eq!(writer.write_vectored(&slices).await.unwrap(), 11);
        writer.flush().await.unwrap();
        let mut text = [0; 11];
        reader.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"one and two");
    });
}

#[test]
fn the_ends_are_told_of_each_others_leaving() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    on_tokio(async move {
        writer.write_all(b"last").await.unwrap();
        writer.shutdown().await.unwrap();
        assert!(writer.write_all(b"more").await.is_err());
        writer.shutdown().await.unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last");
        assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
    });
    let (mut writer, reader) = pipe_with(64).unwrap();
    on_tokio(async move {
        writer.write_all(&[0; 64]).await.unwrap();
        let writing = tokio::spawn(async move { writer.write(b"more").await.unwrap_err().kind() });
        drop(reader);
        assert_eq!(writing.await.unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn futures_that_are_dropped_have_read_and_written_nothing() {
    let (mut writer, mut reader) = pipe_with(64).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut buffer = [0; 100];
    assert!(pin!(AsyncReadExt::read(&mut reader, &mut buffer)).poll(&mut context).is_pending());
    assert!(pin!(reader.fill_buf()).poll(&mut context).is_pending());
    std::io::Write::write_all(&mut writer, &content::bytes(0, 64)).unwrap();
    assert!(pin!(AsyncWriteExt::write(&mut writer, b"never")).poll(&mut context).is_pending());
    drop(writer);
    let mut found = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut found).unwrap();
    assert_eq!(found.len(), 64);
    content::check(0, &found);
}
