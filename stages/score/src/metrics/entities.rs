//! Entities of tagged words: gold and predicted ones by type, and those that are the same in type, first and last word.
//! Precision, recall and F1 of tags are ratios of these counts, averaged as seqeval 1.2.2 does.

use super::average::{Averages, Class, Headline, Ratio};
use super::schemes::{Entity, Tagset};
use super::{Counts, Measure, Options, Score, TagRow, Tags, Total};

/// Starts counting a ratio of entities. Without a type of entity among the classes there is nothing to count.
pub fn start(ratio: &'static Ratio, options: &Options) -> Box<dyn Measure<Tags>> {
    let tagset = Tagset::new(&options.classes, options.strict).expect("the stage checked the classes");
    Box::new(Entities { ratio, tagset })
}

struct Entities {
    ratio: &'static Ratio,
    tagset: Tagset,
}

impl Measure<Tags> for Entities {
    /// Per type: hits, gold, predicted.
    fn width(&self) -> usize {
        3 * self.tagset.kinds.len()
    }

    fn count(&self, row: &TagRow, counts: &mut Counts) {
        let (gold, predicted) = (self.tagset.entities(&row.gold), self.tagset.entities(&row.prediction));
        let slot = |entity: &Entity, part: usize| 3 * entity.kind as usize + part;
        gold.iter().for_each(|entity| counts.add(slot(entity, 1), 1.0));
        predicted.iter().for_each(|entity| counts.add(slot(entity, 2), 1.0));
        // Both are in the order of their first words, and no two begin at the same.
        let mut rest = predicted.iter().peekable();
        for entity in &gold {
            while rest.next_if(|other| other.first < entity.first).is_some() {}
            if rest.peek() == Some(&entity) {
                counts.add(slot(entity, 0), 1.0);
            }
        }
    }

    fn finish(&self, total: &Total) -> Vec<Score> {
        let class =
            |kind: usize| Class { hits: total.whole(3 * kind), gold: total.whole(3 * kind + 1), predicted: total.whole(3 * kind + 2) };
        let classes: Vec<Class> = (0..self.tagset.kinds.len()).map(class).collect();
        let averages = Averages {
            ratio: self.ratio,
            names: &self.tagset.kinds,
            headline: Headline::Micro,
            thing: "entity",
            absent_too: false,
            pairs: self.tagset.signature(),
        };
        averages.scores(&classes, classes.iter().map(|class| class.gold).sum())
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn counts_what(&self) -> Option<&'static str> {
        Some("entities")
    }
}
