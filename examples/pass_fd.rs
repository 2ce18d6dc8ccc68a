//! A program hands its end of a queue to another program, which it knows only by a Unix socket.
//!
//! ```text
//! listener: waiting for a client
//! listener: process 4712 of user 1000 has come, and gets a sender
//! client: process 4711 of user 1000 wants squares
//! listener: 1
//! listener: 4
//! listener: 9
//! listener: the client has left, or died
//! ```
//!
//! The queue has no name, so nobody else can come to it, and nothing is left when both programs have ended, however they end. The socket
//! is needed for the handing over alone: the numbers do not pass through it.
//!
//! Without arguments this program listens at a path in a new directory and starts itself once more, as the client. In two terminals:
//!
//! ```sh
//! cargo run --example pass_fd -- --listen /tmp/squares
//! cargo run --example pass_fd -- --connect /tmp/squares
//! ```

use clap::Parser;
use shmkit::queue::mpmc::{self, Sender};
use shmkit::segment::{credentials, recv, send};
use std::error::Error;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

fn serve(listener: &UnixListener) -> Result<(), Box<dyn Error>> {
    println!("listener: waiting for a client");
    let (socket, _) = listener.accept()?;
    // What the kernel says about the other side, whatever that says itself.
    let client = credentials(&socket)?;
    if client.user != rustix::process::geteuid().as_raw() {
        return Err(format!("process {} of user {} has no business here", client.pid, client.user).into());
    }
    println!("listener: process {} of user {} has come, and gets a sender", client.pid, client.user);

    let (sender, receiver) = mpmc::channel::<u64>(64)?;
    // Any value that serde can carry, with the handles in it. What the client gets is a clone: this one goes, or the queue would never end.
    send(&socket, &("squares", &sender))?;
    drop(sender);
    for square in receiver.iter() {
        println!("listener: {square}");
    }
    println!("listener: the client has left, or died");
    Ok(())
}

fn connect(path: &Path) -> Result<(), Box<dyn Error>> {
    let socket = UnixStream::connect(path)?;
    let (wanted, sender): (String, Sender<u64>) = recv(&socket)?;
    let listener = credentials(&socket)?;
    println!("client: process {} of user {} wants {wanted}", listener.pid, listener.user);
    for number in 1..=3 {
        sender.send(number * number)?;
    }
    Ok(())
}

/// Listens, and starts the client as a program of its own, which gets nothing from this one but the path.
fn both() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?; // which nobody else may enter
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    let mut client = Command::new(std::env::current_exe()?).arg("--connect").arg(&path).spawn()?;
    serve(&listener)?;
    match client.wait()? {
        status if status.success() => Ok(()),
        status => Err(format!("the client ended with {status}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments { listen: Some(path), .. } => {
            let listener = UnixListener::bind(&path)?;
            let outcome = serve(&listener);
            std::fs::remove_file(path)?;
            outcome
        }
        Arguments { connect: Some(path), .. } => connect(&path),
        Arguments { .. } => both(),
    }
}

/// One program hands a queue's sender to another one over a Unix socket. Without arguments, does both.
#[derive(Parser)]
struct Arguments {
    /// Make a socket at this path, and hand a sender to whoever connects first.
    #[arg(long, value_name = "PATH", conflicts_with = "connect")]
    listen: Option<PathBuf>,
    /// Get a sender from who listens at this path, and use it.
    #[arg(long, value_name = "PATH")]
    connect: Option<PathBuf>,
}
