//! How to create a segment that has no name. For those that have one, see [`Named`].

use crate::header::{DONT_DUMP, HUGE_PAGES, Layout};
use crate::life::Life;
use crate::segment::Opened;
use crate::{Configuration, Error, Memory, Object, Segment};
#[cfg(not(loom))]
use crate::{Named, Raw};
use std::sync::Arc;

/// How many processes can be attached to a segment at a time unless [`Options::peers`] says otherwise.
/// (Models have three: looking through a table is a branch of the exploration for each entry.)
pub const DEFAULT_PEERS: usize = if cfg!(loom) { 3 } else { 64 };

/// How to create a segment, and where.
///
/// | where | | who can have it |
/// |---|---|---|
/// | [`anonymous`](Self::anonymous) | sealed memory without a name | those whom it is passed to: children, processes at the other end of a Unix socket |
/// | [`private`](Self::private) | ordinary memory | the threads of this process |
/// | [`name`](Self::name) | a file in `/dev/shm` | whoever knows the name and may open it |
/// | [`file`](Self::file) | a file | whoever knows the path and may open it |
/// | [`raw`](Self::raw) | memory that the caller has mapped | whoever the caller shares it with |
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) peers: usize,
    pub(crate) huge_pages: bool,
    pub(crate) dump: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { peers: DEFAULT_PEERS, huge_pages: false, dump: true }
    }
}

impl Options {
    /// The defaults: 64 peers, ordinary pages, in core dumps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many processes can be attached at a time, 1 to 4096. Each costs 128 bytes.
    #[must_use]
    pub fn peers(mut self, peers: usize) -> Self {
        self.peers = peers;
        self
    }

    /// Whether to use huge pages where they can be had, which makes large segments faster to walk at random. Off by default.
    ///
    /// An anonymous segment takes reserved ones (`vm.nr_hugepages`) if there are enough. Otherwise, and for names and files, the kernel is
    /// told that they are welcome, and has its own rules (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`). That there are none is
    /// no error.
    #[must_use]
    pub fn huge_pages(mut self, yes: bool) -> Self {
        self.huge_pages = yes;
        self
    }

    /// Whether the segment is part of core dumps of the processes that are attached to it (`MADV_DONTDUMP` if not). On by default.
    #[must_use]
    pub fn dump(mut self, yes: bool) -> Self {
        self.dump = yes;
        self
    }

    /// How the segment asks to be mapped.
    pub(crate) fn advice(&self) -> u32 {
        let no_dump = if self.dump { 0 } else { DONT_DUMP };
        no_dump | if self.huge_pages { HUGE_PAGES } else { 0 }
    }

    /// How many bytes a segment of these options for an `O` of this configuration has.
    ///
    /// # Errors
    /// [`Error::Geometry`] if `configuration` makes no sense.
    pub fn length<O: Object>(&self, configuration: Configuration) -> Result<usize, Error> {
        Ok(Layout::<O>::new(&configuration, self.peers)?.plan.length())
    }

    /// Creates a segment of this process alone, to be used between its threads.
    ///
    /// # Errors
    /// [`Error::Geometry`] if `configuration` makes no sense; otherwise what the kernel says about memory.
    pub fn private<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        let layout = Layout::<O>::new(&configuration, self.peers)?;
        let memory = Memory::private(&layout.plan)?;
        Opened::found(memory, layout, configuration, 0, None).settle(Life::table(self.peers))
    }

    /// Creates a segment without a name, to be passed to child processes or over a Unix socket: memory that is allocated in full now, can
    /// neither shrink nor grow, and is gone with the last process that has it.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if the memory cannot be had, [`Error::Geometry`] if `configuration` makes no sense, and
    /// [`Error::System`] when a limit is reached (two descriptors are needed).
    pub fn anonymous<O: Object>(self, configuration: Configuration) -> Result<Arc<Segment<O>>, Error> {
        use std::os::fd::AsFd;
        let layout = Layout::<O>::new(&configuration, self.peers)?;
        let (data, length) = crate::sys::sealed_memory(&layout.plan, self.huge_pages)?;
        let memory = Memory::shared(&data, length, self.advice())?;
        let life = Life::lock(crate::fork::LockFile::reopen(data.as_fd())?, 0);
        Opened::found(memory, layout, configuration, self.advice(), Some(Arc::new(data))).settle(life)
    }

    /// A segment by name, in `/dev/shm`, for this user's processes: see [`Named`].
    #[cfg(not(loom))]
    pub fn name(self, name: impl Into<String>) -> Named {
        Named::by_name(self, name.into())
    }

    /// A segment in a file: see [`Named`].
    ///
    /// The file system must be local, and know files without a name (tmpfs, ext4, xfs, btrfs). What it holds does not outlive a boot of
    /// the machine, as nothing says in which order its pages reach the disk.
    #[cfg(not(loom))]
    pub fn file(self, path: impl Into<std::path::PathBuf>) -> Named {
        Named::by_path(self, path.into())
    }

    /// A segment in memory that the caller has mapped: see [`Raw`].
    ///
    /// # Safety
    /// `memory` stays mapped, readable and writable for as long as the segment or a handle or a view of it exists, in this process; and
    /// meanwhile nothing but this library accesses it, in any process.
    #[cfg(not(loom))]
    #[must_use]
    #[allow(unsafe_code)]
    pub unsafe fn raw(self, memory: std::ptr::NonNull<[u8]>, liveness: crate::Liveness) -> Raw {
        // SAFETY: the caller vouches for it.
        Raw::new(self, unsafe { Memory::lent(memory) }, liveness)
    }
}
