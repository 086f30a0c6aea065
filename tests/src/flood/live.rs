//! The kernel's live test run: a program's frames, sent for good. Source: linux/bpf.h and `net/bpf/test_run.c`, Linux 5.18.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Shape;
use super::program::program;
use crate::net::{link_index, xdp};
use crate::netns::Namespace;

const BPF_PROG_TEST_RUN: libc::c_int = 10;
const LIVE_FRAMES: u32 = 1 << 1;

/// The part of `union bpf_attr` for a test run.
#[repr(C)]
#[derive(Default)]
struct Run {
    program: u32,
    code: u32,
    data_bytes: u32,
    data_out_bytes: u32,
    data: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_bytes: u32,
    context_out_bytes: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    padding: u32,
}

/// `struct xdp_md`.
#[repr(C)]
struct Context32 {
    data: u32,
    data_end: u32,
    data_meta: u32,
    link: u32,
    queue: u32,
    egress: u32,
}

const CONTEXT_BYTES: u32 = 24;
const _: () = assert!(size_of::<Context32>() == 24);

/// A loaded program, and the frame that it starts from.
pub(super) struct Generator {
    program: OwnedFd,
    bytes: Vec<u8>,
    link: u32,
}

impl Namespace {
    /// A generator for each shape, towards a link.
    pub(super) fn generators(&self, link: &str, shapes: &[Shape]) -> Result<Vec<Generator>> {
        let link = self.run(|| link_index(link))?;
        let generator = |shape: &Shape| {
            let program = xdp::load(&program(shape)).context("loading a flood's program")?;
            Ok(Generator { program, bytes: shape.bytes.clone(), link })
        };
        shapes.iter().map(generator).collect()
    }
}

impl Generator {
    /// Sends so many frames from the calling thread's CPU and namespace, and says how long that took.
    #[expect(unsafe_code, reason = "no dependency of ours has live test runs")]
    pub(super) fn send(&self, frames: u32) -> io::Result<Duration> {
        let bytes = u32::try_from(self.bytes.len()).map_err(io::Error::other)?;
        let context =
            Context32 { data: 0, data_end: bytes, data_meta: 0, link: self.link, queue: 0, egress: 0 };
        let mut run = Run {
            program: self.program.as_raw_fd().cast_unsigned(),
            data_bytes: bytes,
            data: self.bytes.as_ptr().addr() as u64,
            repeat: frames,
            context_bytes: CONTEXT_BYTES,
            context: (&raw const context).addr() as u64,
            flags: LIVE_FRAMES,
            ..Run::default()
        };
        // SAFETY: the kernel reads and writes `run`, and reads the frame and the context, all of which outlive the call.
        let answer =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut run, size_of::<Run>()) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        // Nanoseconds a frame.
        Ok(Duration::from_nanos(run.duration.into()) * frames)
    }
}
