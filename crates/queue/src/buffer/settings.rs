//! How a queue is made.

use super::ring::KEEP_OPEN;
use shmkit_segment::Configuration;

/// How many sizes of buffers a queue can have.
pub(super) const MAX_CLASSES: usize = 7;

/// How a queue is made: its buffers, and what happens after deaths. A number of buffers and a size in bytes alone will do where a queue is created.
///
/// A queue can have buffers of up to seven sizes. A message takes one of the smallest size that it fits into and of which a buffer is free; so small ones never wait while there is
/// a larger buffer, but can fill those too.
///
/// ```
/// use shmkit_queue::buffer::{self, Settings};
///
/// let (sender, receiver) = buffer::channel(Settings::new(64, 1 << 10).and(2, 64 << 20).keep_open())?;
/// assert_eq!((sender.capacity(), sender.largest_message()), (66, 64 << 20));
/// sender.send(b"into one of a KiB")?;
/// sender.loan(32 << 20)?.send()?; // in one of 64 MiB
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Settings {
    /// Counts and sizes.
    classes: Vec<(usize, usize)>,
    flags: u64,
}

impl Settings {
    /// A queue of `count` buffers of `size` bytes each: 1 to 16,383 in all, of less than 4 GiB.
    pub fn new(count: usize, size: usize) -> Self {
        Self { classes: vec![(count, size)], flags: 0 }
    }

    /// And of `count` more, of another size.
    pub fn and(mut self, count: usize, size: usize) -> Self {
        self.classes.push((count, size));
        self
    }

    /// The queue does not end when its last sender or receiver has left or died: receivers wait for another sender, and senders use up the buffers and then wait for another
    /// receiver.
    pub fn keep_open(mut self) -> Self {
        self.flags |= KEEP_OPEN;
        self
    }
}

impl From<(usize, usize)> for Settings {
    fn from((count, size): (usize, usize)) -> Self {
        Self::new(count, size)
    }
}

impl From<Settings> for Configuration {
    /// What cannot be written as a configuration becomes one that is refused.
    fn from(Settings { mut classes, flags }: Settings) -> Self {
        classes.sort_by_key(|&(_, size)| size);
        let mut configuration = [0; MAX_CLASSES + 1];
        if classes.len() > MAX_CLASSES {
            return configuration;
        }
        for (word, (count, size)) in configuration.iter_mut().zip(classes) {
            *word = match (u32::try_from(count), u32::try_from(size)) {
                (Ok(count), Ok(size)) => u64::from(count) << 32 | u64::from(size),
                _ => u64::from(u32::MAX),
            };
        }
        configuration[MAX_CLASSES] = flags;
        configuration
    }
}

/// The counts and sizes that a configuration tells, the smallest size first. `None` if they cannot be.
pub(super) fn classes(configuration: &Configuration) -> Option<Vec<(usize, usize)>> {
    let words = &configuration[..MAX_CLASSES];
    let used = words.iter().rposition(|&word| word != 0)? + 1;
    let classes: Vec<_> = words[..used].iter().map(|word| ((word >> 32) as usize, *word as u32 as usize)).collect();
    let is_ascending = classes.is_sorted_by(|(_, smaller), (_, larger)| smaller < larger);
    (is_ascending && classes.iter().all(|&(count, _)| count > 0)).then_some(classes)
}

#[cfg(test)]
mod tests {
    use super::{Settings, classes};
    use shmkit_segment::Configuration;

    fn through(settings: Settings) -> Option<Vec<(usize, usize)>> {
        classes(&Configuration::from(settings))
    }

    #[test]
    fn sizes_come_back_in_order() {
        assert_eq!(through(Settings::new(3, 0)), Some(vec![(3, 0)]));
        assert_eq!(through(Settings::new(3, 100).and(1, 4).and(2, 50)), Some(vec![(1, 4), (2, 50), (3, 100)]));
        let seven = (2..8).fold(Settings::new(1, 1), |settings, size| settings.and(size, size));
        assert_eq!(through(seven.clone()).map(|classes| classes.len()), Some(7));
        assert_eq!(through(seven.and(9, 9)), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for settings in [
            Settings::new(0, 0),
            Settings::new(0, 8),
            Settings::new(usize::MAX, 8),
            Settings::new(1, 1 << 32),
            Settings::new(1, 8).and(0, 16),
            Settings::new(1, 8).and(2, 8),
        ] {
            assert_eq!(through(settings.clone()), None, "{settings:?}");
        }
    }
}
