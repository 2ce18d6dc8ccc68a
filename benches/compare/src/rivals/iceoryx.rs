//! `iceoryx2`'s publish-subscribe between processes, with one publisher and one subscriber, which polls.
//!
//! It does more than a queue: services are discovered by name, many can publish and subscribe, and samples are loaned and read in place. It is
//! set up so that nothing is lost: no sample replaces another, and a publisher whose subscriber's buffer is full tries again, as it does
//! by default. Buffers are slices of bytes, which are loaned uninitialised.
//!
//! Its files have names of this program's own, so that what a run leaves can be told from everybody else's: see
//! [`leftovers`](crate::leftovers).

use super::Polling;
use super::in_place::{InPlace, read, write};
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
use iceoryx2::prelude::{IceoryxSend, LogLevel, Path, SemanticString, ipc, set_log_level};
use iceoryx2::service::builder::publish_subscribe::{Builder, PublishSubscribeOpenOrCreateError};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Services must not meet those of the round before.
static SERIAL: AtomicU32 = AtomicU32::new(0);

type Service<P> = PortFactory<ipc::Service, P, ()>;
type ServiceBuilder<P> = Builder<P, (), ipc::Service>;

/// What is published: the method has one name for all, but no trait.
pub trait Payload: Debug + IceoryxSend + 'static {
    fn open_or_create(builder: ServiceBuilder<Self>) -> Result<Service<Self>, PublishSubscribeOpenOrCreateError>;
}

impl Payload for u64 {
    fn open_or_create(builder: ServiceBuilder<u64>) -> Result<Service<u64>, PublishSubscribeOpenOrCreateError> {
        builder.open_or_create()
    }
}

impl Payload for [u8] {
    fn open_or_create(builder: ServiceBuilder<[u8]>) -> Result<Service<[u8]>, PublishSubscribeOpenOrCreateError> {
        builder.open_or_create()
    }
}

/// A service, as its two sides find it.
#[derive(Clone, Serialize, Deserialize)]
struct Name {
    /// The process that is the run.
    run: u32,
    serial: u32,
    /// Samples that the subscriber's buffer holds.
    capacity: usize,
}

#[derive(Serialize, Deserialize)]
pub struct PublisherEnd(Name);

#[derive(Serialize, Deserialize)]
pub struct SubscriberEnd(Name);

/// A service with one publisher and one subscriber.
pub fn service() -> (PublisherEnd, SubscriberEnd) {
    service_of(CAPACITY)
}

/// The same with buffers of so many bytes each.
pub fn buffers(capacity: usize, length: usize) -> (InPlace<PublisherEnd>, InPlace<SubscriberEnd>) {
    let (publisher, subscriber) = service_of(capacity);
    (InPlace { end: publisher, length }, InPlace { end: subscriber, length })
}

fn service_of(capacity: usize) -> (PublisherEnd, SubscriberEnd) {
    let name = Name { run: std::process::id(), serial: SERIAL.fetch_add(1, Ordering::Relaxed), capacity };
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

    fn open<P: Payload + ?Sized>(&self) -> Result<(Node<ipc::Service>, Service<P>)> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().config(&self.config()?).create::<ipc::Service>()?;
        let builder = node
            .service_builder(&format!("flow {}", self.serial).as_str().try_into()?)
            .publish_subscribe::<P>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(self.capacity)
            .max_publishers(1)
            .max_subscribers(1);
        let service = P::open_or_create(builder).context("the service cannot be opened")?;
        Ok((node, service))
    }
}

/// The fields are dropped in this order: the port before its service, and the node last.
pub struct Publishing<P: Payload + ?Sized> {
    publisher: Publisher<ipc::Service, P, ()>,
    _service: Service<P>,
    _node: Node<ipc::Service>,
}

/// See [`Publishing`].
pub struct Subscribing<P: Payload + ?Sized> {
    subscriber: Subscriber<ipc::Service, P, ()>,
    _service: Service<P>,
    _node: Node<ipc::Service>,
}

impl<P: Payload + ?Sized> Subscribing<P> {
    fn open(name: &Name) -> Result<Self> {
        let (node, service) = name.open()?;
        Ok(Self { subscriber: service.subscriber_builder().create()?, _service: service, _node: node })
    }
}

impl Ticket for PublisherEnd {
    type End = Publishing<u64>;

    fn open(self) -> Result<Publishing<u64>> {
        let (node, service) = self.0.open()?;
        Ok(Publishing { publisher: service.publisher_builder().create()?, _service: service, _node: node })
    }
}

impl Ticket for SubscriberEnd {
    type End = Subscribing<u64>;

    fn open(self) -> Result<Subscribing<u64>> {
        Subscribing::open(&self.0)
    }
}

impl Ticket for InPlace<PublisherEnd> {
    type End = InPlace<Publishing<[u8]>>;

    fn open(self) -> Result<Self::End> {
        let (node, service) = self.end.0.open()?;
        let publisher = service.publisher_builder().initial_max_slice_len(self.length).create()?;
        Ok(InPlace { end: Publishing { publisher, _service: service, _node: node }, length: self.length })
    }
}

impl Ticket for InPlace<SubscriberEnd> {
    type End = InPlace<Subscribing<[u8]>>;

    fn open(self) -> Result<Self::End> {
        Ok(InPlace { end: Subscribing::open(&self.end.0)?, length: self.length })
    }
}

impl Publishing<u64> {
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

impl Subscribing<u64> {
    fn poll(&self) -> Option<u64> {
        self.subscriber.receive().expect("the publisher lives").map(|sample| *sample)
    }
}

impl Outlet for Publishing<u64> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            self.publish(value);
        }
    }
}

impl Inlet for Subscribing<u64> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            take(until(|| self.poll()));
        }
    }
}

impl Outlet for InPlace<Publishing<[u8]>> {
    fn send_all(&mut self, values: Range<u64>) {
        for value in values {
            // Sent again as in `Publishing::publish`.
            until(|| {
                let sample = self.end.publisher.loan_slice_uninit(self.length).expect("there is a free sample");
                // SAFETY: every byte is one of shared memory, which the kernel hands out zeroed, or of an earlier sample.
                let mut sample = unsafe { sample.assume_init() };
                write(sample.payload_mut(), value);
                let reached = sample.send().expect("the subscriber lives");
                (reached == 1).then_some(())
            });
        }
    }
}

impl Inlet for InPlace<Subscribing<[u8]>> {
    fn receive(&mut self, count: u64, mut take: impl FnMut(u64)) {
        for _ in 0..count {
            // The sample goes back when it is dropped.
            let sample = until(|| self.end.subscriber.receive().expect("the publisher lives"));
            take(read(&sample, self.length));
        }
    }
}

impl Ticket for Polling<PublisherEnd, SubscriberEnd> {
    type End = Polling<Publishing<u64>, Subscribing<u64>>;

    fn open(self) -> Result<Self::End> {
        Ok(Polling(self.0.open()?, self.1.open()?))
    }
}

impl Duplex for Polling<Publishing<u64>, Subscribing<u64>> {
    fn send(&mut self, value: u64) {
        self.0.publish(value);
    }

    fn receive(&mut self) -> u64 {
        until_soon(|| self.1.poll())
    }
}
