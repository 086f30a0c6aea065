//! Asks the kernel to take GUE's outer headers off: the one thing here that generic netlink does, and not rtnetlink.
//!
//! Source: linux/netlink.h, linux/genetlink.h, linux/fou.h.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::family::Family;

/// The family that knows the others' numbers, its question and the answer's field.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const ADD: u8 = 1;
const PORT: u16 = 1;
const ADDRESS_FAMILY: u16 = 2;
const ENCAPSULATION: u16 = 4;
const GUE: u8 = 2;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const ACKNOWLEDGED: u16 = 5;
const NLMSG_ERROR: u16 = 2;
/// Bytes of a netlink header, and of the generic one behind it.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
/// Longer than any answer here.
const ROOM: usize = 4096;

/// Has the calling thread's namespace receive GUE on a UDP port, over both families.
pub(super) fn receive_gue(port: u16) -> Result<()> {
    let socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_GENERIC)))
            .context("a socket for generic netlink")?;
    let family = find_family(&socket, b"fou\0").context("looking for the kernel's `fou`")?;
    Family::BOTH.into_iter().try_for_each(|over| {
        let attributes = [
            attribute(PORT, &port.to_be_bytes()),
            attribute(ADDRESS_FAMILY, &[number(over)]),
            attribute(ENCAPSULATION, &[GUE]),
        ];
        ask(&socket, family, ADD, &attributes.concat())
            .with_context(|| format!("port {port} over {over}"))
            .map(drop)
    })
}

fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn find_family(socket: &Socket, name: &[u8]) -> Result<u16> {
    let answer = ask(socket, CONTROL, GET_FAMILY, &attribute(FAMILY_NAME, name))?;
    find_word(answer.get(HEADER + GENERIC_HEADER..).unwrap_or_default(), FAMILY_ID)
        .context("an answer without a number")
}

/// Sends a request and gives the first answer, unless it is a refusal.
fn ask(mut socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> Result<Vec<u8>> {
    socket.send(&message(family, command, attributes)?)?;
    let mut answer = vec![0; ROOM];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    let refusal = error_of(&answer).unwrap_or(0);
    ensure!(refusal == 0, "{}", Errno::from_raw(-refusal));
    Ok(answer)
}

fn message(family: u16, command: u8, attributes: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(HEADER + GENERIC_HEADER + attributes.len())?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(family.to_ne_bytes());
    message.extend(ACKNOWLEDGED.to_ne_bytes());
    // Sequence and port are of no interest to one who waits for each answer; then the command, its version and padding.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    Ok(message)
}

/// An attribute with its length and its padding to words.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The error code of an answer that is an acknowledgement or a refusal.
fn error_of(answer: &[u8]) -> Option<i32> {
    (word_at(answer, 4)? == NLMSG_ERROR).then_some(())?;
    Some(i32::from_ne_bytes(answer.get(HEADER..HEADER + 4)?.try_into().ok()?))
}

/// The value of the first attribute of a kind.
fn find_word(mut attributes: &[u8], wanted: u16) -> Option<u16> {
    loop {
        let (length, kind) = (word_at(attributes, 0)?, word_at(attributes, 2)?);
        if kind == wanted {
            return word_at(attributes, 4);
        }
        attributes = attributes.get(usize::from(length).max(4).next_multiple_of(4)..)?;
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_behind_others() {
        let attributes =
            [attribute(FAMILY_NAME, b"fou\0"), attribute(9, &[1]), attribute(FAMILY_ID, &[7, 0])].concat();
        assert_eq!(attributes.len(), 8 + 8 + 8);
        assert_eq!(find_word(&attributes, FAMILY_ID), Some(u16::from_ne_bytes([7, 0])));
        assert_eq!(find_word(&attributes, 3), None);
    }

    #[test]
    fn an_acknowledgement_is_an_error_of_zero() {
        // The code is where a message has its command.
        let mut answer = message(NLMSG_ERROR, 0, &[]).unwrap();
        answer[HEADER..].copy_from_slice(&0_i32.to_ne_bytes());
        assert_eq!(error_of(&answer), Some(0));
        answer[HEADER..].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(error_of(&answer), Some(-2));
        assert_eq!(error_of(&message(CONTROL, 1, &[]).unwrap()), None);
    }

    #[test]
    fn a_torn_answer_is_no_answer() {
        assert_eq!(find_word(&[8, 0, 1], FAMILY_ID), None);
        assert_eq!(find_word(&[0; 12], FAMILY_ID), None);
        assert_eq!(error_of(&[0; 5]), None);
    }
}
