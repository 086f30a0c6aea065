//! Builds the lists' outline from the prefixes; see [`Outline`].

use super::trie::{Block, Mark, parts};
use lb_common::abi::{Origin, Outline};

/// Bits of an address that words are told apart by: each has sixteen networks.
const WORD_BITS: u8 = Outline::BITS - 4;

/// What these prefixes of IPv4 say of networks as a whole.
pub(super) fn build(marks: &[Mark]) -> Vec<Outline> {
    let mut words = vec![Outline::default(); Outline::WORDS as usize];
    draw(&mut words, marks, Block::ALL, Origin::default());
    words
}

/// Draws the networks of a block, by four bits more each time until one thing can be said of them, or the trie is to.
fn draw(words: &mut [Outline], marks: &[Mark], block: Block, around: Origin) {
    if marks.is_empty() {
        paint(words, block, Outline::all(around));
    } else if block.bits == Outline::BITS {
        paint(words, block, Outline::UNSURE);
    } else {
        parts(marks, block, around).for_each(|(part, marks, around)| draw(words, &marks, part, around));
    }
}

/// Says the same of all networks of a block.
fn paint(words: &mut [Outline], block: Block, said: Outline) {
    let first = usize::try_from(block.start >> (128 - u32::from(WORD_BITS))).unwrap_or(usize::MAX);
    let count = 1 << WORD_BITS.saturating_sub(block.bits);
    let painted = words.get_mut(first..).unwrap_or_default().iter_mut().take(count);
    if block.bits <= WORD_BITS {
        painted.for_each(|word| *word = said);
    } else {
        let number = u32::try_from(block.start >> (128 - u32::from(Outline::BITS)) & 15).unwrap_or(0);
        painted.for_each(|word| *word = word.with(number, said));
    }
}
