//! Documents of words with gold tags, as `tokenize` reads them: a row of tokens may hold the first words alone.

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use engine::Artifact;

use crate::Scheme;
use crate::lists::{Cell, words};

/// The column of documents with gold tags, as the tokens were made from it.
pub struct TagColumn {
    pub(crate) name: String,
    /// How the column holds entities, and how labels do.
    schemes: [Scheme; 2],
}

impl TagColumn {
    /// Of tokens of the layout `tag`; `None` of others, and where the documents are not known.
    pub fn of(tokens: &Artifact) -> Option<TagColumn> {
        let settings = &tokens.manifest.key_parts["settings"];
        if settings["layout"] != "tag" {
            return None;
        }
        let name = settings["tags"].as_str()?.to_string();
        Some(TagColumn { name, schemes: [tokens.fact("tag_scheme").ok()?, tokens.fact("scheme").ok()?] })
    }

    /// The tags of documents that were found.
    pub fn read(&self, documents: &RecordBatch) -> Result<Tags> {
        let column = documents.column_by_name(&self.name).with_context(|| format!("the documents have no column `{}`", self.name))?;
        Ok(Tags { rows: words(column, &self.name)?, schemes: self.schemes })
    }
}

/// The tags of some documents, a list for each.
pub struct Tags {
    rows: Vec<Cell>,
    schemes: [Scheme; 2],
}

impl Tags {
    /// The gold tags of all words of a document. `places` has the word of each place that a row holds a tag of; it gets those behind them.
    pub fn of_all(&self, document: usize, places: &mut Vec<i32>) -> Result<Vec<String>> {
        let Some(Cell::List(tags)) = self.rows.get(document) else { bail!("a document of the tokens has no tags; run `tokenize` again") };
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let [column, labels] = self.schemes;
        let entities = column.decode(&tags).map_err(anyhow::Error::msg).context("the tags of a document; run `tokenize` again")?;
        let next = places.last().map_or(0, |last| last + 1);
        places.extend(next..tags.len() as i32);
        let words: Vec<usize> = places.iter().map(|word| *word as usize).collect();
        Ok(labels.encode_words(&entities, &words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_goes_on_in_words_that_the_row_does_not_hold() {
        let list = |tags: &str| Cell::List(tags.split(' ').map(str::to_string).collect());
        let tags = Tags { rows: vec![list("B-X E-X O B-X I-X E-X O S-Y"), Cell::Null], schemes: [Scheme::Iobes, Scheme::Iob2] };
        let check = |held: &[i32], words: &[i32], expected: &str| {
            let mut places = held.to_vec();
            assert_eq!(tags.of_all(0, &mut places).unwrap().join(" "), expected);
            assert_eq!(places, words);
        };
        check(&[0, 1, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7], "B-X I-X O B-X I-X I-X O B-Y");
        // The word 1 has no tokens; of the word 3 both have labels.
        check(&[0, 2, 3, 3], &[0, 2, 3, 3, 4, 5, 6, 7], "B-X O B-X I-X I-X I-X O B-Y");
        check(&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7], "B-X I-X O B-X I-X I-X O B-Y");
        check(&[], &[0, 1, 2, 3, 4, 5, 6, 7], "B-X I-X O B-X I-X I-X O B-Y");
        assert!(tags.of_all(1, &mut Vec::new()).is_err());
    }
}
