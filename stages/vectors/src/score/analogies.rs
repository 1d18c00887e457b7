//! Analogies by 3CosAdd (Mikolov, Yih and Zweig 2013): the word nearest to b - a + c, none of which may be the answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use engine::Context;
use judgements::Question;

use crate::kernel::{self, Work, vectorized};
use crate::matrix::Matrix;
use crate::score::table::Score;
use crate::score::vectors::Vectors;

/// Questions that are held against a vector while it is at hand.
const BLOCK: usize = 64;

/// Questions with the nearest words.
type Found = Vec<(usize, Option<usize>)>;

/// A predicted word, and whether it is the expected one.
pub(crate) type Answer<'a> = (&'a str, bool);

/// The answer to each question; none where one of its four words has no vector.
pub(crate) fn answer<'a>(ctx: &Context, vectors: &'a Vectors, questions: &[Question]) -> Result<Vec<Option<Answer<'a>>>> {
    let known: Vec<(usize, [usize; 3])> = questions
        .iter()
        .enumerate()
        .filter_map(|(index, question)| {
            vectors.find(&question.expected)?;
            let [a, b, c] = &question.given;
            Some((index, [vectors.find(a)?, vectors.find(b)?, vectors.find(c)?]))
        })
        .collect();
    let blocks: Vec<&[(usize, [usize; 3])]> = known.chunks(BLOCK).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Found> {
        let mut found = Vec::new();
        while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
            ctx.check_stop()?;
            let given: Vec<[usize; 3]> = block.iter().map(|(_, given)| *given).collect();
            let best = vectorized(Search { vectors, given: &given });
            found.extend(block.iter().map(|(index, _)| *index).zip(best));
        }
        Ok(found)
    };
    let found: Vec<Result<Found>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..ctx.threads.max(1)).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err(anyhow!("a search panicked; please report it")))).collect()
    });
    let mut answers = vec![None; questions.len()];
    for (index, best) in found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        let right = |word: usize| vectors.find(&questions[index].expected) == Some(vectors.first[word]);
        answers[index] = best.map(|word| (vectors.words[word].as_str(), right(word)));
    }
    Ok(answers)
}

/// The nearest words to some questions.
struct Search<'a> {
    vectors: &'a Vectors,
    given: &'a [[usize; 3]],
}

impl Work for Search<'_> {
    type Result = Vec<Option<usize>>;

    #[inline(always)]
    fn run(self) -> Vec<Option<usize>> {
        let (units, groups) = (&self.vectors.units, self.vectors.groups);
        let sought = Matrix::zeros(self.given.len(), groups);
        for (row, [a, b, c]) in self.given.iter().enumerate() {
            for (word, sign) in [(a, -1.0), (b, 1.0), (c, 1.0)] {
                // SAFETY: both matrices are of this width.
                unsafe { kernel::add(sought.row(row), sign, units.row(*word), groups) };
            }
        }
        let mut best = vec![(f32::NEG_INFINITY, None); self.given.len()];
        for (word, first) in self.vectors.first.iter().enumerate() {
            let unit = units.row(word);
            for (row, given) in self.given.iter().enumerate() {
                // SAFETY: both matrices are of this width.
                let cosine = unsafe { kernel::dot(unit, sought.row(row), groups) };
                if cosine > best[row].0 && !given.contains(first) {
                    best[row] = (cosine, Some(word));
                }
            }
        }
        best.into_iter().map(|(_, word)| word).collect()
    }
}

/// `analogy_accuracy` over the questions whose words all have vectors, of the file and of each section, and `analogy_oov_rate`.
pub(crate) fn scores(file: Option<&str>, questions: &[Question], answers: &[Option<Answer>]) -> Vec<Score> {
    let mut sections: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let (mut all, mut correct) = (0, 0);
    for (question, answer) in questions.iter().zip(answers) {
        let section = sections.entry(&question.section).or_default();
        if let Some((_, right)) = answer {
            section.0 += 1;
            section.1 += u64::from(*right);
            all += 1;
            correct += u64::from(*right);
        }
    }
    let accuracy = |class: Option<String>, all: u64, correct: u64| Score {
        metric: "analogy_accuracy",
        class,
        value: if all == 0 { Err("no question has vectors for all of its words".to_string()) } else { Ok(correct as f64 / all as f64) },
        count: all,
    };
    let mut scores = vec![accuracy(file.map(str::to_string), all, correct)];
    let rate = 1.0 - all as f64 / questions.len() as f64;
    scores.push(Score { metric: "analogy_oov_rate", class: file.map(str::to_string), value: Ok(rate), count: questions.len() as u64 });
    let named = sections.into_iter().filter(|(name, _)| !name.is_empty());
    scores.extend(
        named.map(|(name, (all, correct))| accuracy(Some(file.map_or(name.to_string(), |file| format!("{file}: {name}"))), all, correct)),
    );
    scores
}
