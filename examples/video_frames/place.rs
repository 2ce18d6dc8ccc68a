//! Where in shared memory something lies, by what the kernel says. So two processes can tell whether they look at the very same bytes.

use std::fs;

/// The file that these bytes lie in, and where in it: the same in all processes that share them, unlike the address.
pub(crate) fn place(bytes: &[u8]) -> Option<[u64; 2]> {
    let address = bytes.as_ptr() as u64;
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    // Lines such as `7f2c58a00000-7f2c5c9f2000 rw-s 00001000 00:01 2051 /memfd:…`.
    fs::read_to_string("/proc/self/maps").ok()?.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (begin, end) = fields.next()?.split_once('-')?;
        let (begin, end) = (hexadecimal(begin)?, hexadecimal(end)?);
        let (offset, file) = (hexadecimal(fields.nth(1)?)?, fields.nth(1)?.parse().ok()?);
        (begin..end).contains(&address).then(|| [file, offset + (address - begin)])
    })
}
