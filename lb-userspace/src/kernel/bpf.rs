//! The few commands of the `bpf` system call that aya does not offer: batches, and running a program for its result.
//!
//! Source: include/uapi/linux/bpf.h, `union bpf_attr`.
#![allow(unsafe_code, reason = "the kernel's interface is a union of structures read by length")]

use aya::Pod;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const MAP_LOOKUP_BATCH: libc::c_int = 24;
const MAP_UPDATE_BATCH: libc::c_int = 26;
const PROG_TEST_RUN: libc::c_int = 10;
const OBJECT_INFO: libc::c_int = 15;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Default)]
struct Batch {
    resume_from: u64,
    resume_at: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for test runs.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    input_length: u32,
    output_length: u32,
    input: u64,
    output: u64,
    repeat: u32,
    duration: u32,
    context_input_length: u32,
    context_output_length: u32,
    context_input: u64,
    context_output: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// The part of `union bpf_attr` for questions about an object.
#[repr(C)]
struct ObjectInfo {
    object: u32,
    length: u32,
    answer: u64,
}

/// The beginning of `struct bpf_prog_info`; the kernel fills in as much as it is told there is room for.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    machine_code_length: u32,
    instructions_length: u32,
    machine_code: u64,
    instructions: u64,
}

/// Where a batched walk through a map stands. The kernel says what its bytes mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position(Option<[u8; POSITION_LENGTH]>);

/// Hash maps take a bucket number, others a key; arrays' keys are numbers too.
const POSITION_LENGTH: usize = 4;

impl Position {
    /// Before the element with this index of an array.
    pub(super) fn before(index: u32) -> Self {
        Self(index.checked_sub(1).map(u32::to_ne_bytes))
    }
}

/// Writes every value under its key, in order; fails at the first that the kernel refuses.
pub(super) fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    let count = keys.len().min(values.len());
    if count == 0 {
        return Ok(());
    }
    let mut batch = Batch {
        keys: address(keys.as_ptr()),
        values: address(values.as_ptr()),
        count: u32::try_from(count).map_err(io::Error::other)?,
        map: number(map),
        ..Batch::default()
    };
    // SAFETY: both slices hold at least `count` elements and live through the call; the kernel only reads them.
    unsafe { call(MAP_UPDATE_BATCH, &mut batch) }
}

/// Reads elements from a position on into `keys` and `values`, as many as both hold; gives their number, and where to
/// go on (`None` at the end). What does not change meanwhile is seen exactly once.
pub(super) fn lookup<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    from: Position,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<Position>)> {
    let mut next = [0u8; POSITION_LENGTH];
    let mut batch = Batch {
        resume_from: from.0.as_ref().map_or(0, |position| address(position.as_ptr())),
        resume_at: address(next.as_mut_ptr()),
        keys: address(keys.as_mut_ptr()),
        values: address(values.as_mut_ptr()),
        count: u32::try_from(keys.len().min(values.len())).map_err(io::Error::other)?,
        map: number(map),
        ..Batch::default()
    };
    // SAFETY: the slices hold `count` elements and are exclusively borrowed; `Pod` values may have any bytes, as aya takes them too;
    // the positions have the length of the map's.
    let end = match unsafe { call(MAP_LOOKUP_BATCH, &mut batch) } {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    Ok((batch.count as usize, (!end).then_some(Position(Some(next)))))
}

/// Runs a loaded XDP program once over a packet and gives what it returns.
pub(super) fn run_over(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut run = TestRun {
        program: number(program),
        input: address(packet.as_ptr()),
        input_length: u32::try_from(packet.len()).map_err(io::Error::other)?,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the packet lives through the call and no output is asked for.
    unsafe { call(PROG_TEST_RUN, &mut run) }?;
    Ok(run.result)
}

/// Has a test run tell the kernel that it knows the sum over the packet, and compare that afterwards (Linux 6.17 and later).
const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// Runs a loaded TC program once over a packet, as if it came whole or with its sum known; gives what it returns and the
/// packet's bytes afterwards.
pub(super) fn run_classifier(
    program: BorrowedFd<'_>,
    packet: &[u8],
    output: &mut [u8],
    is_summed: bool,
) -> io::Result<(u32, usize)> {
    let mut run = TestRun {
        program: number(program),
        input: address(packet.as_ptr()),
        input_length: u32::try_from(packet.len()).map_err(io::Error::other)?,
        output: address(output.as_mut_ptr()),
        output_length: u32::try_from(output.len()).map_err(io::Error::other)?,
        repeat: 1,
        flags: if is_summed { CHECKSUM_COMPLETE } else { 0 },
        ..TestRun::default()
    };
    // SAFETY: the packet and the room for the output live through the call and have the lengths given.
    unsafe { call(PROG_TEST_RUN, &mut run) }?;
    Ok((run.result, run.output_length as usize))
}

/// A loaded program's instructions as the verifier left them: eight bytes each, or twice eight.
pub(super) fn instructions(program: BorrowedFd<'_>) -> io::Result<Vec<[u8; 8]>> {
    let length = describe(program, &mut [])?;
    let mut instructions = vec![[0; 8]; length];
    let length = describe(program, &mut instructions)?;
    instructions.truncate(length);
    Ok(instructions)
}

/// Fills in as many instructions as there is room for, and gives their whole number.
fn describe(program: BorrowedFd<'_>, room: &mut [[u8; 8]]) -> io::Result<usize> {
    let mut info = ProgramInfo {
        instructions_length: u32::try_from(size_of_val(room)).map_err(io::Error::other)?,
        instructions: address(room.as_mut_ptr()),
        ..ProgramInfo::default()
    };
    let length = u32::try_from(size_of::<ProgramInfo>()).map_err(io::Error::other)?;
    let answer = address(std::ptr::from_mut(&mut info));
    let mut question = ObjectInfo { object: number(program), length, answer };
    // SAFETY: the answer has the length given and lives through the call, and so does the room for instructions,
    // whose length it holds.
    unsafe { call(OBJECT_INFO, &mut question) }?;
    Ok(info.instructions_length as usize / 8)
}

/// # Safety
/// Every address in `attributes` must be good for the lengths that the command takes from it.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<()> {
    // SAFETY: the caller's promise, and the length is that of the structure.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as u64
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().unsigned_abs()
}
