//! shmkit's queues, one message at a time, by futures.

use super::Awaiting;
use crate::peers::async_trip::AsyncDuplex;
use shmkit::queue::spsc;

impl AsyncDuplex for Awaiting<(spsc::Sender<u64>, spsc::Receiver<u64>)> {
    async fn send(&mut self, value: u64) {
        self.0.0.send_async(value).await.expect("the other side lives");
    }

    async fn receive(&mut self) -> u64 {
        self.0.1.recv_async().await.expect("the other side lives")
    }
}
