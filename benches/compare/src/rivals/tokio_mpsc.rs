//! tokio's bounded channel, for many senders in tasks of one process and a receiver.

use crate::peers::async_trip::AsyncDuplex;
use crate::peers::processes::Ticket;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Two channels, one for each direction, in the process that opens this.
#[derive(Serialize, Deserialize)]
pub struct Channels {
    pub capacity: usize,
}

/// What one side has of them.
pub struct Side(Sender<u64>, Receiver<u64>);

impl Ticket for Channels {
    type End = [Side; 2];

    fn open(self) -> Result<[Side; 2]> {
        let ((to_there, from_here), (to_here, from_there)) = (channel(self.capacity), channel(self.capacity));
        Ok([Side(to_there, from_there), Side(to_here, from_here)])
    }
}

impl AsyncDuplex for Side {
    async fn send(&mut self, value: u64) {
        self.0.send(value).await.expect("the other side lives");
    }

    async fn receive(&mut self) -> u64 {
        self.1.recv().await.expect("the other side lives")
    }
}
