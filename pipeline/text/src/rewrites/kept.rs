//! A text made of the lines of another: borrowed as long as they are one stretch of it.

use std::borrow::Cow;

pub(super) struct Kept<'a> {
    text: &'a str,
    /// The kept stretch, while it is one.
    stretch: Option<(usize, usize)>,
    /// What is kept, once it no longer is a stretch.
    out: Option<String>,
}

impl<'a> Kept<'a> {
    pub fn of(text: &'a str) -> Kept<'a> {
        Kept { text, stretch: None, out: None }
    }

    /// Keeps a piece of the text, set off from the pieces before it by `separator`.
    pub fn push(&mut self, piece: &'a str, separator: &str) {
        let start = piece.as_ptr() as usize - self.text.as_ptr() as usize;
        let end = start + piece.len();
        match (&mut self.out, self.stretch) {
            (None, None) => self.stretch = Some((start, end)),
            (None, Some((first, last))) if start >= last && self.text[last..start] == *separator => self.stretch = Some((first, end)),
            _ => self.push_changed(piece, separator),
        }
    }

    /// Keeps something that the text does not have.
    pub fn push_changed(&mut self, piece: &str, separator: &str) {
        let is_first = self.out.is_none() && self.stretch.is_none();
        let (first, last) = self.stretch.unwrap_or((0, 0));
        let out = self.out.get_or_insert_with(|| {
            let mut out = String::with_capacity(self.text.len());
            out.push_str(&self.text[first..last]);
            out
        });
        if !is_first {
            out.push_str(separator);
        }
        out.push_str(piece);
    }

    pub fn finish(self) -> Cow<'a, str> {
        let (first, last) = self.stretch.unwrap_or((0, 0));
        self.out.map_or(Cow::Borrowed(&self.text[first..last]), Cow::Owned)
    }
}
