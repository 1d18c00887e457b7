//! Documents put together again from the rows of shards, whichever way they were packed.

use anyhow::{Context as _, Result, bail};
use engine::{Context, list};
use shards::{ShardFile, examples, packed};

/// A document as it leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    pub(crate) id: [u8; 16],
    pub(crate) tokens: Vec<i64>,
    /// The class of an example of `classify`.
    pub(crate) label: Option<i64>,
    /// What to predict at each place, -100 on the prompt: an example of `complete`.
    pub(crate) labels: Option<Vec<i64>>,
}

/// What a split holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
}

enum Rows {
    Packed(packed::Reader),
    Classify(examples::Reader),
    Complete(examples::Reader),
}

/// A piece of a document that does not follow the piece before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tail {
    document: [u8; 16],
    start: i64,
    row: u64,
    /// Of its first token within the row.
    offset: u32,
    length: u32,
}

/// The shards of one split, looked through once.
pub(crate) struct Stored {
    rows: Rows,
    /// Sorted; empty where documents were packed in order.
    tails: Vec<Tail>,
    pub(crate) totals: Totals,
}

impl Stored {
    /// Counts documents and tokens, and finds the pieces that are out of order: a packing that fills rows by length scatters those of
    /// documents longer than a row.
    pub(crate) fn open(ctx: &Context, layout: &str, files: &[ShardFile]) -> Result<Stored> {
        let rows = match layout {
            "packed" => Rows::Packed(packed::Reader::new(files)),
            "classify" => Rows::Classify(examples::Reader::new(files)),
            "complete" => Rows::Complete(examples::Reader::new(files)),
            other => bail!("tokens of layout `{other}` cannot be exported; layouts: {}", list(["packed", "classify", "complete"])),
        };
        let mut stored = Stored { rows, tails: Vec::new(), totals: Totals::default() };
        stored.count(ctx)?;
        stored.tails.sort_unstable();
        Ok(stored)
    }

    fn count(&mut self, ctx: &Context) -> Result<()> {
        let reader = match &self.rows {
            Rows::Packed(reader) => reader,
            Rows::Classify(reader) | Rows::Complete(reader) => {
                let mut tokens = Vec::new();
                for row in 0..reader.rows() {
                    tokens.clear();
                    reader.append_tokens(row, &mut tokens)?;
                    self.totals.tokens += tokens.len() as u64;
                }
                self.totals.documents = reader.rows();
                return Ok(());
            }
        };
        // A quarter of the memory, so that the shards that are mapped have room.
        let most = ctx.memory as usize / 4 / size_of::<Tail>();
        let mut open = None;
        for row in 0..reader.rows() {
            ctx.check_stop()?;
            let mut offset = 1;
            for span in reader.spans(row)? {
                self.totals.tokens += span.length as u64;
                if span.start == 0 {
                    self.totals.documents += 1;
                    open = Some((span.document, i64::from(span.length)));
                } else if open == Some((span.document, span.start)) {
                    open = Some((span.document, span.start + i64::from(span.length)));
                } else {
                    self.tails.push(Tail { document: span.document, start: span.start, row, offset, length: span.length as u32 });
                }
                offset += span.length as u32;
            }
            if self.tails.len() > most {
                bail!(
                    "more than {most} pieces of documents are out of order, which takes more than a quarter of the memory; give more with --memory, or tokenize with documents packed in order"
                );
            }
        }
        Ok(())
    }

    /// Hands over every document once, in the order in which they begin.
    pub(crate) fn each(&self, ctx: &Context, sink: &mut dyn FnMut(&Document) -> Result<()>) -> Result<()> {
        match &self.rows {
            Rows::Packed(reader) => self.packed(ctx, reader, sink),
            Rows::Classify(reader) => examples(ctx, reader, sink, |row, document| {
                document.label = Some(reader.label(row)?);
                Ok(())
            }),
            Rows::Complete(reader) => {
                examples(ctx, reader, sink, |row, document| reader.append_labels(row, document.labels.insert(Vec::new())))
            }
        }
    }

    fn packed(&self, ctx: &Context, reader: &packed::Reader, sink: &mut dyn FnMut(&Document) -> Result<()>) -> Result<()> {
        let mut open: Option<Document> = None;
        let (mut tokens, mut left) = (Vec::new(), self.totals.tokens);
        let mut close = |open: Option<Document>| -> Result<()> {
            let Some(mut document) = open else { return Ok(()) };
            self.append_tails(reader, &mut document)?;
            left = left.checked_sub(document.tokens.len() as u64).context("pieces of documents overlap")?;
            sink(&document)
        };
        for row in 0..reader.rows() {
            ctx.check_stop()?;
            tokens.clear();
            reader.append_tokens(row, &mut tokens)?;
            let mut offset = 1;
            for span in reader.spans(row)? {
                let piece = offset..offset + span.length as usize;
                offset = piece.end;
                let piece = tokens.get(piece).with_context(|| format!("row {row} is shorter than its spans"))?;
                match &mut open {
                    _ if span.start == 0 => {
                        close(open.replace(Document { id: span.document, tokens: piece.to_vec(), ..Document::default() }))?;
                    }
                    Some(document) if document.id == span.document && document.tokens.len() as i64 == span.start => {
                        document.tokens.extend_from_slice(piece);
                    }
                    _ => {}
                }
            }
        }
        close(open)?;
        if left > 0 {
            bail!("{left} tokens belong to pieces of documents whose beginning is missing; run `tokenize` again with --force");
        }
        Ok(())
    }

    /// Appends the pieces that lie elsewhere. Copies of a document are alike, so any copy's pieces do.
    fn append_tails(&self, reader: &packed::Reader, document: &mut Document) -> Result<()> {
        let mut row = Vec::new();
        loop {
            let place = (document.id, document.tokens.len() as i64);
            let at = self.tails.partition_point(|tail| (tail.document, tail.start) < place);
            let Some(tail) = self.tails.get(at).filter(|tail| (tail.document, tail.start) == place) else { return Ok(()) };
            row.clear();
            reader.append_tokens(tail.row, &mut row)?;
            let piece = tail.offset as usize..(tail.offset + tail.length) as usize;
            document.tokens.extend_from_slice(row.get(piece).with_context(|| format!("row {} is shorter than its spans", tail.row))?);
        }
    }
}

fn examples(
    ctx: &Context,
    reader: &examples::Reader,
    sink: &mut dyn FnMut(&Document) -> Result<()>,
    answer: impl Fn(u64, &mut Document) -> Result<()>,
) -> Result<()> {
    for row in 0..reader.rows() {
        ctx.check_stop()?;
        let mut document = Document { id: reader.id(row)?, ..Document::default() };
        reader.append_tokens(row, &mut document.tokens)?;
        answer(row, &mut document)?;
        sink(&document)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::testing::context;
    use shards::{Row, Span, Width};

    /// Rows of 5 tokens, each given as pieces (document, start, length); token `10 * document + place`.
    fn check(rows: &[&[(u8, i64, i32)]]) -> Result<Vec<(u8, usize)>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00000.arrow");
        let mut writer = packed::Writer::create(&path, 5, Width::U16).unwrap();
        for row in rows {
            let tokens = row.iter().flat_map(|(d, start, n)| (0..*n).map(|i| u32::from(*d) * 10 + *start as u32 + i as u32));
            let mut tokens: Vec<u32> = std::iter::once(0).chain(tokens).collect();
            tokens.resize(5, 0);
            let spans =
                row.iter().map(|(d, start, length)| Span { document: [*d; 16], start: *start, length: *length, weight: 1.0 }).collect();
            writer.push(Row { tokens, spans }).unwrap();
        }
        let files = [ShardFile { path, rows: writer.finish().unwrap(), bytes: None }];
        let stored = Stored::open(&context(1), "packed", &files)?;
        let mut found = Vec::new();
        stored.each(&context(1), &mut |document| {
            let first = i64::from(document.id[0]) * 10;
            assert_eq!(document.tokens, (first..first + document.tokens.len() as i64).collect::<Vec<_>>());
            found.push((document.id[0], document.tokens.len()));
            Ok(())
        })?;
        assert_eq!(stored.totals.tokens, found.iter().map(|(_, n)| *n as u64).sum::<u64>());
        assert_eq!(stored.totals.documents, found.len() as u64);
        Ok(found)
    }

    #[test]
    fn documents_come_back_however_their_pieces_lie() {
        assert_eq!(check(&[]).unwrap(), []);
        assert_eq!(check(&[&[(1, 0, 3), (2, 0, 1)], &[(2, 1, 4)], &[(2, 5, 1), (3, 0, 2)]]).unwrap(), [(1, 3), (2, 6), (3, 2)]);
        // The last piece of 1 was put beside 2, before and after its beginning, and in the wrong order.
        assert_eq!(check(&[&[(1, 0, 4)], &[(3, 0, 4)], &[(2, 0, 2), (1, 4, 2)]]).unwrap(), [(1, 6), (3, 4), (2, 2)]);
        assert_eq!(check(&[&[(2, 0, 2), (1, 4, 2)], &[(1, 0, 4)]]).unwrap(), [(2, 2), (1, 6)]);
        assert_eq!(check(&[&[(1, 0, 2)], &[(1, 4, 2)], &[(1, 2, 2)], &[(2, 0, 1)]]).unwrap(), [(1, 6), (2, 1)]);
        // Two copies of a document.
        assert_eq!(check(&[&[(1, 0, 4)], &[(1, 0, 4)], &[(1, 4, 1), (1, 4, 1)]]).unwrap(), [(1, 5), (1, 5)]);
    }

    #[test]
    fn pieces_without_a_beginning_are_an_error() {
        let error = check(&[&[(1, 0, 2), (2, 3, 2)]]).unwrap_err().to_string();
        assert!(error.starts_with("2 tokens belong to pieces of documents whose beginning is missing"), "{error}");
    }
}
