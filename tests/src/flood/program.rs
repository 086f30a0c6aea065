//! The program that makes frames differ, in the encoding of linux/bpf.h (RFC 9669).

use super::Shape;

/// Where a flood's frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Out of the link.
    Out,
    /// Nowhere: they are made as any other, and end at once. What a flood takes by being made alone.
    Nowhere,
}

impl Aim {
    /// The XDP code for it. Source: linux/bpf.h.
    const fn code(self) -> i32 {
        match self {
            Self::Nowhere => 1,
            Self::Out => 3,
        }
    }
}

/// An instruction.
pub(super) type Instruction = [u8; 8];

const fn instruction(code: u8, [to, from]: [u8; 2], offset: i16, value: i32) -> Instruction {
    let (offset, value) = (offset.to_le_bytes(), value.to_le_bytes());
    [code, from << 4 | to, offset[0], offset[1], value[0], value[1], value[2], value[3]]
}

const EXIT: u8 = 0x95;
const CALL: u8 = 0x85;
const MOVE_VALUE: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const MOVE_32: u8 = 0xbc;
const ADD_VALUE: u8 = 0x07;
const ADD_32: u8 = 0x0c;
const AND_VALUE_32: u8 = 0x54;
const OR_VALUE_32: u8 = 0x44;
const XOR_VALUE_32: u8 = 0xa4;
const SHIFT_RIGHT_VALUE_32: u8 = 0x74;
const LOAD_32: u8 = 0x61;
const STORE_32: u8 = 0x63;
const STORE_16: u8 = 0x6b;
const JUMP_GREATER: u8 = 0x2d;
/// `bpf_get_prandom_u32`.
const RANDOM: i32 = 7;

/// Puts a random source into a packet, and what makes up for it in one's complement arithmetic (RFC 1071), which is the
/// same in either byte order.
pub(super) fn program(shape: &Shape, aim: Aim) -> Vec<Instruction> {
    let length = i32::try_from(shape.bytes.len()).unwrap_or(i32::MAX);
    // A word as it is stored: the packet's first byte is the lowest.
    let stored = |word: u32| word.swap_bytes().cast_signed();
    let mut code = vec![
        instruction(LOAD_32, [7, 1], 0, 0),
        instruction(LOAD_32, [2, 1], 4, 0),
        instruction(MOVE, [3, 7], 0, 0),
        instruction(ADD_VALUE, [3, 0], 0, length),
        instruction(JUMP_GREATER, [3, 2], to_the_end(shape), 0),
        instruction(CALL, [0, 0], 0, RANDOM),
        instruction(AND_VALUE_32, [0, 0], 0, stored(shape.sources.drawn)),
        instruction(OR_VALUE_32, [0, 0], 0, stored(shape.sources.base)),
        instruction(STORE_32, [7, 0], shape.word_at, 0),
        // Both halves summed, what is carried added, and that taken from the sum that changes nothing.
        instruction(MOVE_32, [1, 0], 0, 0),
        instruction(SHIFT_RIGHT_VALUE_32, [1, 0], 0, 16),
        instruction(AND_VALUE_32, [0, 0], 0, 0xffff),
        instruction(ADD_32, [0, 1], 0, 0),
        instruction(MOVE_32, [1, 0], 0, 0),
        instruction(SHIFT_RIGHT_VALUE_32, [1, 0], 0, 16),
        instruction(ADD_32, [0, 1], 0, 0),
        instruction(XOR_VALUE_32, [0, 0], 0, 0xffff),
    ];
    code.extend(shape.spare_at.iter().map(|at| instruction(STORE_16, [7, 0], *at, 0)));
    code.extend([instruction(MOVE_VALUE, [0, 0], 0, aim.code()), instruction(EXIT, [0, 0], 0, 0)]);
    code.extend([instruction(MOVE_VALUE, [0, 0], 0, Aim::Nowhere.code()), instruction(EXIT, [0, 0], 0, 0)]);
    code
}

/// From behind the comparison with the packet's end to the last two instructions.
fn to_the_end(shape: &Shape) -> i16 {
    const BETWEEN: i16 = 14;
    BETWEEN + i16::try_from(shape.spare_at.len()).unwrap_or(0)
}
