//! `iceoryx2`'s publish-subscribe between processes, with one publisher and one subscriber, which polls.
//!
//! It does more than a queue: services are discovered by name, many can publish and subscribe, and samples are loaned and read in place. It is
//! set up so that nothing is lost: no sample replaces another, and a publisher whose subscriber's buffer is full tries again, as it does
//! by default.
//!
//! Its files have names of this program's own, so that what a run leaves can be told from everybody else's: see
//! [`leftovers`](crate::leftovers).

use super::Polling;
use crate::leftovers;
use crate::peers::backoff::{until, until_soon};
use crate::peers::flow::{CAPACITY, Inlet, Outlet};
use crate::peers::processes::Ticket;
use crate::peers::trip::Duplex;
use anyhow::{Context, Result};
use iceoryx2::config::Config;
use iceoryx2::node::{Node, NodeBuilder};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{LogLevel, Path, SemanticString, ipc, set_log_level};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Services must not meet those of the round before.
static SERIAL: AtomicU32 = AtomicU32::new(0);

type Service = PortFactory<ipc::Service, u64, ()>;

/// A service, as its two sides find it.
#[derive(Clone, Serialize, Deserialize)]
struct Name {
    /// The process that is the run.
    run: u32,
    serial: u32,
}

#[derive(Serialize, Deserialize)]
pub struct PublisherEnd(Name);

#[derive(Serialize, Deserialize)]
pub struct SubscriberEnd(Name);

/// A service with one publisher and one subscriber.
pub fn service() -> (PublisherEnd, SubscriberEnd) {
    let name = Name { run: std::process::id(), serial: SERIAL.fetch_add(1, Ordering::Relaxed) };
    (PublisherEnd(name.clone()), SubscriberEnd(name))
}

impl Name {
    fn config(&self) -> Result<Config> {
        let mut config = Config::default();
        // A peer's directory for temporary files is the run's own.
        let root = std::env::temp_dir().join("iceoryx2");
        config.global.set_root_path(&Path::new(root.as_os_str().as_encoded_bytes())?);
        config.global.prefix = leftovers::prefix(self.run).as_str().try_into()?;
        Ok(config)
    }

    fn open(&self) -> Result<(Node<ipc::Service>, Service)> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().config(&self.config()?).create::<ipc::Service>()?;
        let service = node
            .service_builder(&format!("flow {}", self.serial).as_str().try_into()?)
            .publish_subscribe::<u64>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(CAPACITY)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .context("the service cannot be opened")?;
        Ok((node, service))
    }
}

/// The fields are dropped in this order: the port before its service, and the node last.
pub struct Publishing {
    publisher: Publisher<ipc::Service, u64, ()>,
    _service: Service,
    _node: Node<ipc::Service>,
}

/// See [`Publishing`].
pub struct Subscribing {
    subscriber: Subscriber<ipc::Service, u64, ()>,
    _service: Service,
    _node: Node<ipc::Service>,
}

impl Ticket for PublisherEnd {
    type End = Publishing;

    fn open(self) -> Result<Publishing> {
        let (node, service) = self.0.open()?;
        Ok(Publishing { publisher: service.publisher_builder().create()?, _service: service, _node: node })
    }
}

impl Ticket for SubscriberEnd {
    type End = Subscribing;

    fn open(self) -> Result<Subscribing> {
        let (node, service) = self.0.open()?;
        Ok(Subscribing { subscriber: service.subscriber_builder().create()?, _service: service, _node: node })
    }
}

impl Publishing {
    /// The publisher waits while the subscriber's buffer is full, but not for a subscriber that has not polled even once: that it does not
    /// count as connected, and gives up on. So what has reached nobody is sent again.
    fn publish(&self, value: u64) {
        until(|| {
            let sample = self.publisher.loan_uninit().expect("there is a free sample");
            let reached = sample.write_payload(value).send().expect("the subscriber lives");
            (reached == 1).then_some(())
        });
    }
}

impl Subscribing {
    fn poll(&self) -> Option<u64> {
        self.subscriber.receive().expect("the publisher lives").map(|sample| *sample)
    }
}

impl Outlet for Publishing {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            self.publish(value);
        }
    }
}

impl Inlet for Subscribing {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(until(|| self.poll()));
        }
    }
}

impl Ticket for Polling<PublisherEnd, SubscriberEnd> {
    type End = Polling<Publishing, Subscribing>;

    fn open(self) -> Result<Self::End> {
        Ok(Polling(self.0.open()?, self.1.open()?))
    }
}

impl Duplex for Polling<Publishing, Subscribing> {
    fn send(&mut self, value: u64) {
        self.0.publish(value);
    }

    fn receive(&mut self) -> u64 {
        until_soon(|| self.1.poll())
    }
}
