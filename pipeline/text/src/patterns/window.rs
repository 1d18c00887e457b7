//! Up to 64 bytes of text as bit masks, bit `i` for byte `i`, and where pieces start among them.
//!
//! A window begins where a piece begins. It is used as far as it is ASCII; a start is told only where no later byte could change it.

use super::bytes::Bytes;

/// The bytes of a window, by their class.
pub(super) struct Window {
    letters: u64,
    uppers: u64,
    digits: u64,
    /// `\s`
    white: u64,
    blanks: u64,
    newlines: u64,
    others: u64,
    quotes: u64,
    slashes: u64,
    /// Starts up to here do not depend on what follows the window.
    told: u64,
}

impl Window {
    #[inline(always)]
    pub(super) fn at(text: &[u8], at: usize) -> Window {
        let rest = &text[at..];
        match rest.first_chunk::<64>() {
            Some(bytes) => Window::new(bytes, 64),
            None => {
                let mut bytes = [0; 64];
                bytes[..rest.len()].copy_from_slice(rest);
                Window::new(&bytes, rest.len())
            }
        }
    }

    #[inline(always)]
    fn new(bytes: &[u8; 64], length: usize) -> Window {
        let bytes = Bytes::new(bytes);
        let (blanks, newlines) = (bytes.between(b' ', b' '), bytes.between(b'\n', b'\n') | bytes.between(b'\r', b'\r'));
        let (letters, digits, white) = (bytes.letters(), bytes.between(b'0', b'9'), bytes.between(b'\t', b'\r') | blanks);
        let length = length.min(bytes.high().trailing_zeros() as usize);
        // Where white space at the end of the window is cut depends on what follows it.
        let open = (white << (64 - length)).leading_ones() as usize;
        let told = if length == 0 { 0 } else { below(length - open.min(length)) | lowest(u64::from(open > 0) << (length - open.max(1))) };
        Window {
            letters,
            uppers: bytes.between(b'A', b'Z'),
            digits,
            white,
            blanks,
            newlines,
            others: !(letters | digits | white),
            quotes: bytes.between(b'\'', b'\''),
            slashes: bytes.between(b'/', b'/'),
            told: told & !1,
        }
    }

    /// Starts of GPT-2's pieces.
    #[inline(always)]
    pub(super) fn gpt2(&self) -> u64 {
        let run = |kind: u64| kind & !(kind << 1);
        // A blank belongs to what follows it; other white space ends before its last character.
        let words = (run(self.letters) | run(self.digits) | run(self.others)) & !(self.blanks << 1);
        let starts = words | run(self.white) | self.white & !(self.white >> 1);
        self.up_to_contraction(starts)
    }

    /// Starts of the pieces of cl100k (three digits) or Qwen 2 (one).
    #[inline(always)]
    pub(super) fn cl100k(&self, digits: u32) -> u64 {
        let (starts, told) = self.modern(digits);
        self.up_to_contraction((starts | self.word_starts()) & told)
    }

    /// Starts of o200k's pieces: words are also cut between lower and upper case, and contractions belong to words.
    #[inline(always)]
    pub(super) fn o200k(&self) -> u64 {
        let (starts, told) = self.modern(3);
        let lower = self.letters & !self.uppers;
        let unclear = self.quotes & (self.letters << 1) | self.slashes & (self.newlines << 1);
        (starts | self.word_starts() | self.uppers & (lower << 1)) & told & self.told & below_lowest(unclear)
    }

    /// Letters after something else, unless that is a single mark or white space, which then begins the piece.
    #[inline(always)]
    fn word_starts(&self) -> u64 {
        let before = self.white & !self.newlines | self.mark_starts();
        self.letters & !(self.letters << 1) & !(before << 1)
    }

    #[inline(always)]
    fn mark_starts(&self) -> u64 {
        self.others & !(self.others << 1) & !(self.blanks << 1)
    }

    /// Starts of the pieces that are no words, and where they are certain.
    #[inline(always)]
    fn modern(&self, digits: u32) -> (u64, u64) {
        // Newlines after marks belong to these. Adding the first of a run to the run carries out of it.
        let taken = self.newlines & !self.newlines.wrapping_add(self.newlines & (self.others << 1));
        let (white, newlines) = (self.white & !taken, self.newlines & !taken);
        let inner = white & !newlines;
        let after = inner & (newlines << 1);
        let starts = white & !(white << 1) | inner & !(self.white >> 1) | after;
        // White space between newlines is no start; this is rare, so it is left to the scanner.
        let between = inner.wrapping_add(after) & !inner & newlines;
        let told = if between == 0 { u64::MAX } else { lowest(newlines) | below_lowest(newlines) };
        (starts | self.mark_starts() | self.digit_starts(digits), told)
    }

    #[inline(always)]
    fn digit_starts(&self, digits: u32) -> u64 {
        if digits == 1 {
            return self.digits;
        }
        let mut starts = self.digits & !(self.digits << 1);
        let inside = self.digits & (self.digits << 1) & (self.digits << 2) & (self.digits << 3);
        let mut next = (starts << 3) & inside;
        while next != 0 {
            starts |= next;
            next = (next << 3) & inside;
        }
        starts
    }

    /// A quote that starts a piece may be a contraction, which the scanner knows.
    #[inline(always)]
    fn up_to_contraction(&self, starts: u64) -> u64 {
        let unclear = (starts | 1) & self.quotes & (self.letters >> 1);
        starts & self.told & (lowest(unclear) | below_lowest(unclear))
    }
}

/// The lowest bit alone.
#[inline(always)]
fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

/// The bits below the lowest; all if there is none.
#[inline(always)]
fn below_lowest(bits: u64) -> u64 {
    lowest(bits).wrapping_sub(1)
}

/// The first `count` bits.
#[inline(always)]
pub(super) fn below(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
