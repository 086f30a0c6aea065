//! The program that makes frames differ, in the encoding of linux/bpf.h (RFC 9669).

use super::Shape;

/// XDP's codes to end a frame and to send it back out of its link. Source: linux/bpf.h.
const DROP: i32 = 1;
const SEND: i32 = 3;

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
const STORE_VALUE_32: u8 = 0x62;
const STORE_VALUE_8: u8 = 0x72;
const STORE_32: u8 = 0x63;
const STORE_16: u8 = 0x6b;
const JUMP_GREATER: u8 = 0x2d;
/// `bpf_get_prandom_u32`.
const RANDOM: i32 = 7;

/// Writes a packet, puts a random source into it, and what makes up for that in one's complement arithmetic (RFC 1071), which
/// is the same in either byte order.
///
/// All of it each time: the kernel takes a frame's page again once the frame is gone, with what its receiver made of it.
pub(super) fn program(shape: &Shape) -> Vec<Instruction> {
    let length = i32::try_from(shape.bytes.len()).unwrap_or(i32::MAX);
    let body = [written(&shape.bytes), drawn(shape), ended(SEND)].concat();
    let start = [
        instruction(LOAD_32, [7, 1], 0, 0),
        instruction(LOAD_32, [2, 1], 4, 0),
        instruction(MOVE, [3, 7], 0, 0),
        instruction(ADD_VALUE, [3, 0], 0, length),
        instruction(JUMP_GREATER, [3, 2], i16::try_from(body.len()).unwrap_or(i16::MAX), 0),
    ];
    [&start[..], &body, &ended(DROP)].concat()
}

/// Puts these bytes into the packet.
fn written(bytes: &[u8]) -> Vec<Instruction> {
    let (words, rest) = bytes.as_chunks::<4>();
    let word =
        |(at, word): (i16, &[u8; 4])| instruction(STORE_VALUE_32, [7, 0], at, i32::from_le_bytes(*word));
    let byte = |(at, byte): (i16, &u8)| instruction(STORE_VALUE_8, [7, 0], at, i32::from(*byte));
    let behind = i16::try_from(bytes.len() - rest.len()).unwrap_or(i16::MAX);
    (0..).step_by(4).zip(words).map(word).chain((behind..).zip(rest).map(byte)).collect()
}

/// Puts a random source into it, and what makes up for that.
fn drawn(shape: &Shape) -> Vec<Instruction> {
    // A word as it is stored: the packet's first byte is the lowest.
    let stored = |word: u32| word.swap_bytes().cast_signed();
    let mut code = vec![
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
    code
}

fn ended(code: i32) -> Vec<Instruction> {
    vec![instruction(MOVE_VALUE, [0, 0], 0, code), instruction(EXIT, [0, 0], 0, 0)]
}
