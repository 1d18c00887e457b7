//! Packing: documents of any length become rows of one length, with no token lost or doubled.

/// A piece of a document inside a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub document: [u8; 16],
    /// Index of the first token within the document.
    pub start: i64,
    pub length: i32,
}

/// A finished row: always the same number of tokens, padding at the end of the last row of a split alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub tokens: Vec<u32>,
    /// They tile the row from index 1; what follows them is padding.
    pub spans: Vec<Span>,
}

/// Cuts a stream of documents into rows.
///
/// Token 0 of a row is context, in no span and never predicted; the spans tile the rest.
/// - Causal: token 0 repeats the last token of the row before (the end-of-text token in the first row). So every token of every document is a
///   target exactly once, and rows overlap by one.
/// - Masked: token 0 is `[CLS]`.
pub struct Packer {
    row_tokens: usize,
    first: u32,
    overlap: bool,
    padding: u32,
    row: Row,
}

impl Packer {
    /// `row_tokens` counts token 0 and must be 2 or more. `first` is token 0 of the first row (`overlap`) or of every row.
    pub fn new(row_tokens: usize, first: u32, overlap: bool, padding: u32) -> Packer {
        assert!(row_tokens >= 2, "a row needs a token besides its context");
        Packer { row_tokens, first, overlap, padding, row: start_row(row_tokens, first) }
    }

    /// Appends a document, its end token included; hands over each row that is full.
    pub fn push<E>(&mut self, document: [u8; 16], mut tokens: &[u32], mut sink: impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        let mut start = 0;
        while !tokens.is_empty() {
            if self.row.tokens.len() == self.row_tokens {
                sink(self.next_row())?;
            }
            let (taken, rest) = tokens.split_at(tokens.len().min(self.row_tokens - self.row.tokens.len()));
            self.row.tokens.extend_from_slice(taken);
            self.row.spans.push(Span { document, start, length: taken.len() as i32 });
            start += taken.len() as i64;
            tokens = rest;
        }
        Ok(())
    }

    /// The last row, padded; none when it would hold no document.
    pub fn finish(mut self) -> Option<Row> {
        if self.row.spans.is_empty() {
            return None;
        }
        self.row.tokens.resize(self.row_tokens, self.padding);
        Some(self.row)
    }

    fn next_row(&mut self) -> Row {
        let last = *self.row.tokens.last().expect("a row begins with its context");
        let first = if self.overlap { last } else { self.first };
        std::mem::replace(&mut self.row, start_row(self.row_tokens, first))
    }
}

fn start_row(row_tokens: usize, first: u32) -> Row {
    let mut tokens = Vec::with_capacity(row_tokens);
    tokens.push(first);
    Row { tokens, spans: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn pack(documents: &[Vec<u32>], row_tokens: usize, overlap: bool) -> Vec<Row> {
        let mut packer = Packer::new(row_tokens, 1, overlap, 0);
        let mut rows = Vec::new();
        for (index, tokens) in documents.iter().enumerate() {
            let sink = |row| -> Result<(), Infallible> {
                rows.push(row);
                Ok(())
            };
            let Ok(()) = packer.push((index as u128).to_le_bytes(), tokens, sink);
        }
        rows.extend(packer.finish());
        rows
    }

    #[test]
    fn causal_rows_overlap_by_one() {
        let rows = pack(&[vec![10, 11, 12, 1], vec![20, 1]], 5, true);
        let span = |document: u128, start, length| Span { document: document.to_le_bytes(), start, length };
        assert_eq!(
            rows,
            [
                Row { tokens: vec![1, 10, 11, 12, 1], spans: vec![span(0, 0, 4)] },
                Row { tokens: vec![1, 20, 1, 0, 0], spans: vec![span(1, 0, 2)] }
            ]
        );
        let rows = pack(&[vec![10, 11, 12, 13, 1]], 4, true);
        assert_eq!(rows[1], Row { tokens: vec![12, 13, 1, 0], spans: vec![span(0, 3, 2)] });
    }

    #[test]
    fn masked_rows_begin_alike_and_nothing_makes_no_row() {
        let rows = pack(&[vec![10, 11, 12, 13]], 3, false);
        assert_eq!(rows.iter().map(|row| row.tokens.as_slice()).collect::<Vec<_>>(), [&[1, 10, 11], &[1, 12, 13]]);
        assert!(pack(&[], 3, false).is_empty());
        assert!(pack(&[vec![], vec![]], 3, true).is_empty());
    }

    proptest! {
        #[test]
        fn no_token_is_lost_or_doubled(
            documents in prop::collection::vec(prop::collection::vec(2u32..100, 0..30), 0..20), row_tokens in 2usize..12, overlap: bool,
        ) {
            let rows = pack(&documents, row_tokens, overlap);
            let mut found = vec![Vec::new(); documents.len()];
            for (index, row) in rows.iter().enumerate() {
                prop_assert_eq!(row.tokens.len(), row_tokens);
                let mut position = 1;
                for span in &row.spans {
                    let document: &mut Vec<u32> = &mut found[u128::from_le_bytes(span.document) as usize];
                    prop_assert_eq!(span.start as usize, document.len());
                    document.extend(&row.tokens[position..position + span.length as usize]);
                    position += span.length as usize;
                }
                prop_assert!(position == row_tokens || index + 1 == rows.len());
                prop_assert!(row.tokens[position..].iter().all(|token| *token == 0));
                let first = if overlap && index > 0 { *rows[index - 1].tokens.last().unwrap() } else { 1 };
                prop_assert_eq!(row.tokens[0], first);
            }
            prop_assert_eq!(found, documents);
        }
    }
}
