//! What measures the kernel programs: a wrapper that runs a program over the same packet again and again, and the
//! floors, programs that do the least any program of their kind can do.
//!
//! A plain test run with `repeat` does not give the packet back as it was: from the second run on a program that
//! encapsulates sees its own tunnel packet. The wrapper undoes each run, and counts that each was as expected. It is
//! never loaded but by the bench, which see in `benches/README.md`.
#![no_std]
#![no_main]

mod floors;
mod header;
mod wrapper;

/// The licence the kernel reads.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Unreachable by construction: the loop makes the verifier refuse a program that could come here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
