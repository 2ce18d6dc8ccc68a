//! One thread serves any number of clients: programs of their own, which know nothing of it but a path. One of them is killed.
//!
//! ```text
//! server: listening
//! server: process 4712 of user 1000 has come
//! server: process 4713 of user 1000 has come
//! server: process 4714 of user 1000 has come
//! server: process 4715 of user 1000 has come
//! server: process 4714 is killed after its message 100
//! server: process 4714 has left or died, after 100 messages
//! client 4712: 2000 messages have come back as they were
//! server: process 4712 has left or died, after 2000 messages
//! client 4713: 2000 messages have come back as they were
//! server: process 4713 has left or died, after 2000 messages
//! client 4715: 2000 messages have come back as they were
//! server: process 4715 has left or died, after 2000 messages
//! server: everybody has left
//! ```
//!
//! The path leads to a Unix socket, over which each client gets an end of a connection in shared memory. After that nothing passes through the socket.
//!
//! The server waits for whatever comes first: somebody at the path, a message from any of the clients, or room for an answer to one that had none. It never waits for one of them alone. So a client that
//! is stopped, or does not fetch its answers, delays nobody else: as long as its answer cannot be sent, no more is received from it. One that is killed is like one that leaves. And one that writes
//! nonsense into the memory that it shares with the server has its connection end with an error, and nobody else's.
//!
//! Without arguments this program listens at a path in a new directory and starts itself four times more, as the clients. In two terminals, what is typed into the second comes back:
//!
//! ```sh
//! cargo run --example echo_server -- --listen /tmp/echo
//! cargo run --example echo_server -- --connect /tmp/echo
//! ```
//!
//! With `--secret FILE` on both sides, only those are served who have a file with the same content.

use clap::Parser;
use shmkit::pipe::{Address, Connection, Credentials, Listener, RecvError, SendError, Stranger, Waitable, wait};
use shmkit::sync::Watch;
use std::error::Error;
use std::fs;
use std::io;
use std::iter;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

type Failure = Box<dyn Error>;

/// A client, as the server sees it.
struct Client {
    connection: Connection<Stranger>,
    who: Credentials,
    /// What it has sent, and not got back yet.
    answer: Option<Vec<u8>>,
    messages: u64,
}

impl Client {
    fn new((mut connection, who): (Connection<Stranger>, Credentials)) -> Self {
        // A message that there is room for once half a ring is free, which is what `watch_room` waits for. Longer ones are an error, and their sender is shown the door.
        connection.set_limit(connection.capacity() / 2 - 8);
        Self { connection, who, answer: None, messages: 0 }
    }

    /// What it makes sense to wait for.
    fn watch(&self) -> Watch {
        if self.answer.is_some() { self.connection.watch_room() } else { self.connection.watch() }
    }

    /// Receives a message if there is one; true if so. Never blocks.
    fn receive(&mut self) -> Result<bool, RecvError> {
        match self.connection.try_recv_bytes() {
            Ok(message) => self.answer = Some(message),
            Err(RecvError::WouldBlock) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.messages += 1;
        Ok(true)
    }

    /// Answers if there is room. Never blocks.
    fn answer(&mut self) -> Result<(), SendError> {
        let Some(answer) = &self.answer else { return Ok(()) };
        match self.connection.try_send_bytes(answer) {
            Ok(()) => self.answer = None,
            Err(SendError::WouldBlock) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// One message at a time, so that everybody gets a turn.
    fn serve(&mut self, company: &mut Company) -> Result<(), Failure> {
        if self.answer.is_none() && self.receive()? {
            company.see(self.who.pid, self.messages)?;
        }
        Ok(self.answer()?)
    }
}

/// Serves whoever comes, in this one thread, until the company has come and gone.
fn serve(listener: &Listener, mut company: Company) -> Result<(), Failure> {
    println!("server: listening");
    let mut clients: Vec<Client> = Vec::new();
    while !(clients.is_empty() && company.has_gone()?) {
        let come = Waitable::from(listener.as_fd());
        let things = iter::once(come).chain(clients.iter().map(|client| client.watch().into()));
        // The numbers of all that is ready: 0 is the listener. From the last on, as clients are removed.
        for number in wait(things, company.patience()).into_iter().rev() {
            let Some(number) = number.checked_sub(1) else {
                match listener.try_accept() {
                    Ok(Some(client)) => {
                        println!("server: process {} of user {} has come", client.1.pid, client.1.user);
                        clients.push(Client::new(client));
                    }
                    Ok(None) => {}
                    // Somebody without the secret, say. The next one can be served.
                    Err(error) => println!("server: {error}"),
                }
                continue;
            };
            if let Err(error) = clients[number].serve(&mut company) {
                let Client { who, messages, .. } = clients.swap_remove(number);
                let is_gone = matches!(error.downcast_ref(), Some(RecvError::Disconnected))
                    || matches!(error.downcast_ref(), Some(SendError::Disconnected));
                let why = if is_gone { "has left or died".to_owned() } else { format!("is left: {error}") };
                println!("server: process {} {why}, after {messages} messages", who.pid);
            }
        }
    }
    println!("server: everybody has left");
    Ok(())
}

/// The clients that the server has started itself: none, unless this is the demonstration.
#[derive(Default)]
struct Company {
    clients: Vec<Child>,
    /// Who is to be killed.
    victim: Option<u32>,
}

impl Company {
    const CLIENTS: usize = 4;
    const MESSAGES: u64 = 2000;
    /// The last message of the victim.
    const LAST: u64 = 100;

    fn start(path: &Path, secret: Option<&Path>) -> io::Result<Self> {
        let mut company = Self::default();
        for number in 0..Self::CLIENTS {
            let is_victim = number == Self::CLIENTS / 2;
            // The victim does not leave by itself.
            let messages = if is_victim { u64::MAX } else { Self::MESSAGES };
            let mut client = Command::new(std::env::current_exe()?);
            client.arg("--connect").arg(path).arg("--messages").arg(messages.to_string());
            if let Some(secret) = secret {
                client.arg("--secret").arg(secret);
            }
            let client = client.spawn()?;
            company.victim = if is_victim { Some(client.id()) } else { company.victim };
            company.clients.push(client);
        }
        Ok(company)
    }

    /// A client's message has come, which is not answered yet.
    fn see(&mut self, process: u32, message: u64) -> io::Result<()> {
        if self.victim == Some(process) && message == Self::LAST {
            let victim = self.clients.iter_mut().find(|client| client.id() == process).expect("it is one of them");
            victim.kill()?;
            victim.wait()?;
            println!("server: process {process} is killed after its message {message}");
        }
        Ok(())
    }

    /// Whether all have ended. Never, if there was nobody.
    fn has_gone(&mut self) -> io::Result<bool> {
        let mut ended = 0;
        for client in &mut self.clients {
            ended += usize::from(client.try_wait()?.is_some());
        }
        Ok(ended > 0 && ended == self.clients.len())
    }

    /// How long to wait before it is asked again who has ended: somebody may never have come.
    fn patience(&self) -> Option<Duration> {
        (!self.clients.is_empty()).then_some(Duration::from_millis(50))
    }
}

/// Sends so many messages, and receives each before the next one.
fn talk(mut connection: Connection<Stranger>, messages: u64) -> Result<(), Failure> {
    for message in 0..messages {
        // Of other lengths and with other bytes each time.
        let sent = [&message.to_le_bytes()[..], &vec![message as u8; (message * 617 % 30_000) as usize]].concat();
        connection.send_bytes(&sent)?;
        if connection.recv_bytes()? != sent {
            return Err(format!("message {message} came back as another one").into());
        }
    }
    println!("client {}: {messages} messages have come back as they were", std::process::id());
    Ok(())
}

/// Sends what is typed, line by line.
fn chat(mut connection: Connection<Stranger>) -> Result<(), Failure> {
    for line in io::stdin().lines() {
        connection.send(&line?)?;
        println!("{}", connection.recv::<String>()?);
    }
    Ok(())
}

fn address(path: &Path, secret: Option<&Path>) -> io::Result<Address> {
    // A server with a secret waits for each client's proof, which takes no time, unless somebody wants to keep it busy.
    let address = Address::new(path).patience(Duration::from_secs(1));
    Ok(match secret {
        Some(file) => address.secret(fs::read(file)?),
        None => address,
    })
}

fn main() -> Result<(), Failure> {
    let Arguments { listen, connect, secret, messages } = Arguments::parse();
    let secret = secret.as_deref();
    if let Some(path) = connect {
        let connection = address(&path, secret)?.connect()?;
        return match messages {
            Some(messages) => talk(connection, messages),
            None => chat(connection),
        };
    }
    if let Some(path) = listen {
        return serve(&address(&path, secret)?.listen()?, Company::default());
    }
    let directory = tempfile::tempdir()?; // which nobody else may enter
    let path = directory.path().join("socket");
    let listener = address(&path, secret)?.listen()?;
    serve(&listener, Company::start(&path, secret)?)
}

/// Sends back whatever clients send, over shared memory. Without arguments, server and clients at once.
#[derive(Parser)]
struct Arguments {
    /// Serve those who connect to this path.
    #[arg(long, value_name = "PATH", conflicts_with = "connect")]
    listen: Option<PathBuf>,
    /// Connect to who listens at this path, and have it send back what is typed.
    #[arg(long, value_name = "PATH")]
    connect: Option<PathBuf>,
    /// A file with what both sides must know.
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// As a client: so many messages instead of what is typed.
    #[arg(long, value_name = "COUNT", requires = "connect")]
    messages: Option<u64>,
}
