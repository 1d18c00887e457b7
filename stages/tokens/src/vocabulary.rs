//! What every artifact of kind tokenizer holds: the files that `transformers` opens and the table of tokens.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{BooleanArray, Int64Array, RecordBatch, StringArray};
use engine::{Context, Draft, Kind, Part, PartWriter, schema};
use text::Tokenizer;

/// Writes the files and the table `vocabulary`, notes how many ids there are, and lets `others` write further tables, which are declared before.
pub(crate) fn write(
    tokenizer: &Tokenizer,
    ctx: &Context,
    draft: &Draft,
    others: impl Fn(&mut PartWriter) -> Result<()> + Sync,
) -> Result<()> {
    tokenizer.save(draft.dir(), None)?;
    draft.fact("vocab_size", tokenizer.vocabulary_size())?;
    let table = Kind::Tokenizer.main_table();
    draft.declare(table, schema::vocabulary())?;
    draft.parts(ctx, &[Part { bytes: 0 }], |_, part| {
        let vocabulary = tokenizer.vocabulary();
        let ids = Int64Array::from_iter_values(vocabulary.iter().map(|(id, _, _)| i64::from(*id)));
        let tokens = StringArray::from_iter_values(vocabulary.iter().map(|(_, token, _)| token));
        let special = BooleanArray::from_iter(vocabulary.iter().map(|(_, _, special)| Some(*special)));
        part.write(table, &RecordBatch::try_new(schema::vocabulary(), vec![Arc::new(ids), Arc::new(tokens), Arc::new(special)])?)?;
        others(part)
    })
}
