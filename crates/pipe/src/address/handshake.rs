//! What both sides say before a connection is handed over: see the head of the module above.

use super::ConnectError;
use super::error::{is_end, is_late};
use shmkit_segment::DeadlineSocket;
use std::io::{self, Read, Write};
use std::path::Path;

const MAGIC: [u8; 4] = *b"shmc";
const VERSION: u16 = 1;
/// Magic, version, whether there is a secret, and what the listener has chosen.
const HELLO: usize = 8 + CHOICE;
const CHOICE: usize = 32;
#[cfg(feature = "secret")]
const PROOF: usize = 32;

/// What went wrong.
pub(super) enum Failure {
    Secret,
    NotSpoken,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    pub(super) fn at(self, path: &Path) -> ConnectError {
        let path = path.into();
        match self {
            Self::Secret => ConnectError::WrongSecret { path },
            Self::NotSpoken => ConnectError::NotSpoken { path },
            Self::Io(error) if is_late(&error) => ConnectError::Timeout { path },
            Self::Io(error) if is_end(&error) => ConnectError::Left { path },
            Self::Io(source) => ConnectError::Io {
                path,
                action: "speak with who is at the other side of",
                hint: "connect anew",
                source,
            },
        }
    }
}

/// The listener's part.
pub(super) fn as_listener(socket: &mut DeadlineSocket<'_>, secret: Option<&Secret>) -> Result<(), Failure> {
    let mut hello = [0; HELLO];
    hello[..4].copy_from_slice(&MAGIC);
    hello[4..6].copy_from_slice(&VERSION.to_le_bytes());
    hello[6] = secret.is_some().into();
    choose(&mut hello[8..])?;
    socket.write_all(&hello)?;
    match secret {
        Some(secret) => secret.ask(socket, &hello[8..]),
        None => Ok(()),
    }
}

/// The part of who connects.
pub(super) fn as_client(socket: &mut DeadlineSocket<'_>, secret: Option<&Secret>) -> Result<(), Failure> {
    let mut hello = [0; HELLO];
    socket.read_exact(&mut hello)?;
    if hello[..4] != MAGIC || hello[4..6] != VERSION.to_le_bytes() || hello[6] > 1 {
        return Err(Failure::NotSpoken);
    }
    match secret {
        Some(secret) if hello[6] == 1 => secret.answer(socket, &hello[8..]),
        None if hello[6] == 0 => Ok(()),
        _ => Err(Failure::Secret),
    }
}

/// Fills `bytes` at random.
fn choose(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        filled +=
            rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty()))?;
    }
    Ok(())
}

/// What both sides know. Without the feature `secret` there is none.
#[derive(Clone)]
#[cfg_attr(not(feature = "secret"), allow(dead_code))]
pub(super) struct Secret(std::sync::Arc<[u8]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a secret")
    }
}

#[cfg(not(feature = "secret"))]
impl Secret {
    fn ask(&self, _: &mut DeadlineSocket<'_>, _: &[u8]) -> Result<(), Failure> {
        Err(Failure::Secret)
    }

    fn answer(&self, _: &mut DeadlineSocket<'_>, _: &[u8]) -> Result<(), Failure> {
        Err(Failure::Secret)
    }
}

#[cfg(feature = "secret")]
impl Secret {
    pub(super) fn new(secret: Vec<u8>) -> Self {
        // A key that is shorter or longer than HMAC's block would be the same as another one.
        Self(<sha2::Sha256 as sha2::Digest>::digest(secret).as_slice().into())
    }

    /// Lets the other side prove that it knows the secret, then proves it too.
    fn ask(&self, socket: &mut DeadlineSocket<'_>, ours: &[u8]) -> Result<(), Failure> {
        let mut answer = [0; CHOICE + PROOF];
        // One who leaves has been asked for a secret that it does not have.
        socket.read_exact(&mut answer).map_err(|error| if is_end(&error) { Failure::Secret } else { error.into() })?;
        let (theirs, proof) = answer.split_at(CHOICE);
        self.check(b"connects", ours, theirs, proof)?;
        socket.write_all(&self.prove(b"listens", ours, theirs))?;
        Ok(())
    }

    /// Proves that this side knows the secret, then lets the other one prove it.
    fn answer(&self, socket: &mut DeadlineSocket<'_>, theirs: &[u8]) -> Result<(), Failure> {
        let mut answer = [0; CHOICE + PROOF];
        let (ours, proof) = answer.split_at_mut(CHOICE);
        choose(ours)?;
        proof.copy_from_slice(&self.prove(b"connects", theirs, ours));
        socket.write_all(&answer)?;
        let mut proof = [0; PROOF];
        // One who leaves was not convinced.
        socket.read_exact(&mut proof).map_err(|error| if is_end(&error) { Failure::Secret } else { error.into() })?;
        self.check(b"listens", theirs, &answer[..CHOICE], &proof)
    }

    fn mac(&self, word: &[u8], listeners: &[u8], clients: &[u8]) -> hmac::Hmac<sha2::Sha256> {
        use hmac::Mac;
        use hmac::digest::KeyInit;
        // A key of any length will do, so there is none that is refused.
        let key = <hmac::Hmac<sha2::Sha256> as KeyInit>::new_from_slice(&self.0);
        key.unwrap_or_else(|_| KeyInit::new(&Default::default()))
            .chain_update(word)
            .chain_update(listeners)
            .chain_update(clients)
    }

    fn prove(&self, word: &[u8], listeners: &[u8], clients: &[u8]) -> [u8; PROOF] {
        hmac::Mac::finalize(self.mac(word, listeners, clients)).into_bytes().into()
    }

    /// In a time that does not depend on where the two differ.
    fn check(&self, word: &[u8], listeners: &[u8], clients: &[u8], proof: &[u8]) -> Result<(), Failure> {
        hmac::Mac::verify_slice(self.mac(word, listeners, clients), proof).map_err(|_| Failure::Secret)
    }
}
