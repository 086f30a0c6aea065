//! What the kernel says of a loaded program.

use super::object::refused;
use super::{LoadError, bpf};
use aya::programs::Xdp;
use std::os::fd::AsFd as _;

/// What the kernel says of a loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// Instructions the verifier looked at, over all paths; kernels before 5.16 do not tell.
    pub verified_instructions: Option<u32>,
    /// The deepest place on the stack that any of its functions names, of the 512 there are.
    pub stack_bytes: u16,
    /// Size after the verifier's rewriting.
    pub translated_bytes: Option<u32>,
    /// Size of the machine code; 0 if the kernel interprets.
    pub jited_bytes: u32,
}

impl Facts {
    /// Asks the kernel.
    pub(super) fn of(name: &'static str, program: &Xdp) -> Result<Self, LoadError> {
        const OPERATION: &str = "describe a program";
        let info = program.info().map_err(|error| refused(OPERATION, error))?;
        let descriptor = program.fd().map_err(|error| refused(OPERATION, error))?.as_fd();
        let instructions = bpf::instructions(descriptor).map_err(|error| refused(OPERATION, error))?;
        Ok(Self {
            name,
            verified_instructions: info.verified_instruction_count(),
            stack_bytes: measure_stack(&instructions),
            translated_bytes: info.size_translated(),
            jited_bytes: info.size_jitted(),
        })
    }
}

/// The deepest offset from the frame pointer that an instruction names: as base of a load or a store, or added to a
/// copy of it. The kernel itself tells the depth only in the log of a load, which aya does not hand out.
///
/// Source: RFC 9669, sections 3 to 5.
fn measure_stack(instructions: &[[u8; 8]]) -> u16 {
    const FRAME_POINTER: u8 = 10;
    const MOVE: u8 = 0xbf;
    const ADD_CONSTANT: u8 = 0x07;
    let mut copies = 0u16;
    let mut deepest = 0i32;
    for [code, registers, low, high, constant @ ..] in instructions {
        let (target, source) = (registers & 15, registers >> 4);
        let offset = i32::from(i16::from_le_bytes([*low, *high]));
        let is_copy = copies >> target & 1 == 1;
        deepest = deepest.min(match code & 7 {
            1 if source == FRAME_POINTER => offset,
            2 | 3 if target == FRAME_POINTER => offset,
            7 if *code == ADD_CONSTANT && is_copy => i32::from_le_bytes(*constant),
            _ => 0,
        });
        // Loads and arithmetic (classes 0, 1, 4 and 7) give their target a new value.
        match code & 7 {
            7 if *code == MOVE && source == FRAME_POINTER => copies |= 1 << target,
            0 | 1 | 4 | 7 => copies &= !(1 << target),
            _ => {}
        }
    }
    u16::try_from(deepest.unsigned_abs()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_as_deep_as_the_deepest_place_named() {
        let store = [0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0]; // *(u64 *)(r10 - 16) = r1
        let load = [0x79, 0xa1, 0xe8, 0xff, 0, 0, 0, 0]; // r1 = *(u64 *)(r10 - 24)
        let copy = [0xbf, 0xa2, 0, 0, 0, 0, 0, 0]; // r2 = r10
        let add = [0x07, 0x02, 0, 0, 0xd0, 0xff, 0xff, 0xff]; // r2 += -48
        let elsewhere = [0x7b, 0x16, 0x00, 0xff, 0, 0, 0, 0]; // *(u64 *)(r6 - 256) = r1
        assert_eq!(measure_stack(&[elsewhere, add]), 0);
        assert_eq!(measure_stack(&[store, elsewhere]), 16);
        assert_eq!(measure_stack(&[load, store]), 24);
        assert_eq!(measure_stack(&[copy, store, add]), 48);
        let other = [0xb7, 0x02, 0, 0, 1, 0, 0, 0]; // r2 = 1
        assert_eq!(measure_stack(&[copy, other, add]), 0);
    }
}
