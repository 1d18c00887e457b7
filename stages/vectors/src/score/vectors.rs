//! Word vectors of length one, found by word.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use engine::{Artifact, Context};

use crate::kernel::groups;
use crate::matrix::Matrix;

const BATCH_ROWS: usize = 4096;

/// The most frequent words of an artifact.
pub(crate) struct Vectors {
    pub(crate) words: Vec<String>,
    /// Scaled to length one; zero where the vector is.
    pub(crate) units: Matrix,
    pub(crate) groups: usize,
    /// The first word that is equal to each, but for case if that is ignored: the most frequent.
    pub(crate) first: Vec<usize>,
    /// Word, in upper case if case is ignored, to number.
    numbers: HashMap<String, usize>,
    ignore_case: bool,
}

impl Vectors {
    pub(crate) fn read(ctx: &Context, artifact: &Artifact, most: usize, ignore_case: bool) -> Result<Vectors> {
        let table = artifact.table(artifact.main())?;
        let size: usize = artifact.fact("vector_size")?;
        let rows = (table.rows as usize).min(most);
        let groups = groups(size);
        if Matrix::bytes(rows, groups) > ctx.memory {
            bail!("{rows} vectors do not fit into `--memory`: allow more or lower `vocabulary_max`");
        }
        let (words, first, numbers) = Default::default();
        let mut vectors = Vectors { words, units: Matrix::zeros(rows, groups), groups, first, numbers, ignore_case };
        for file in 0..table.files.len() {
            for batch in table.read(file, Some(&["word", "vector"]), BATCH_ROWS)? {
                ctx.check_stop()?;
                let batch = batch?;
                let (words, lists) = (batch.column(0).as_string_opt::<i32>(), batch.column(1).as_list_opt::<i32>());
                let (words, lists) = words.zip(lists).context("the table of vectors has other columns than expected")?;
                for row in 0..batch.num_rows().min(rows - vectors.words.len()) {
                    let list = lists.value(row);
                    let numbers = list.as_primitive_opt::<Float32Type>().context("vectors hold no numbers")?.values();
                    vectors.push(words.value(row), numbers, size)?;
                }
            }
        }
        Ok(vectors)
    }

    fn push(&mut self, word: &str, numbers: &[f32], size: usize) -> Result<()> {
        if numbers.len() != size || numbers.iter().any(|x| !x.is_finite()) {
            bail!("the vector of `{word}` has {} numbers, {size} finite ones were expected", numbers.len());
        }
        let length = numbers.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let number = self.words.len();
        for (unit, x) in self.units.numbers_mut(number).iter_mut().zip(numbers) {
            *unit = if length > 0.0 { (f64::from(*x) / length) as f32 } else { 0.0 };
        }
        self.first.push(*self.numbers.entry(self.folded(word)).or_insert(number));
        self.words.push(word.to_string());
        Ok(())
    }

    fn folded(&self, word: &str) -> String {
        if self.ignore_case { word.to_uppercase() } else { word.to_string() }
    }

    pub(crate) fn find(&self, word: &str) -> Option<usize> {
        self.numbers.get(&self.folded(word)).copied()
    }
}
