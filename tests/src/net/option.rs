//! Socket options that hold an integer, for those of which no dependency has a safe wrapper.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The size of an option's value.
const BYTES: libc::socklen_t = 4;

/// Sets an option of `socket`.
#[expect(unsafe_code, reason = "an option without a safe wrapper")]
pub fn set(socket: &impl AsRawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let descriptor: RawFd = socket.as_raw_fd();
    // SAFETY: the kernel reads the four bytes of the integer, which outlives the call.
    let answer = unsafe { libc::setsockopt(descriptor, level, option, (&raw const value).cast(), BYTES) };
    succeeded(answer)
}

/// The value of an option of `socket`.
#[expect(unsafe_code, reason = "an option without a safe wrapper")]
pub fn get(socket: &impl AsRawFd, level: i32, option: i32) -> io::Result<i32> {
    let (descriptor, mut value, mut length): (RawFd, i32, _) = (socket.as_raw_fd(), 0, BYTES);
    // SAFETY: the kernel writes at most `length` bytes, and the integer has as many.
    let answer =
        unsafe { libc::getsockopt(descriptor, level, option, (&raw mut value).cast(), &raw mut length) };
    succeeded(answer).map(|()| value)
}

fn succeeded(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
