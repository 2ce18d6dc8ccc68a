//! Another user.

use rustix::process::{Gid, Uid};

pub(crate) const NOBODY: u32 = 65534;

/// Gives up all rights of an administrator. A process with one thread is that thread.
pub(crate) fn become_nobody() {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[]).unwrap();
    rustix::thread::set_thread_res_gid(group, group, group).unwrap();
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();
}
