//! Edit distances, a row of the table at once: bit-parallel, as Myers (1999) and Hyyrö (2003) have it, without a beam.

/// Columns that a row may have.
const COLUMNS_MAX: usize = u128::BITS as usize;

/// A reference, and where each word stands in it.
pub struct Reference<'a> {
    pub words: &'a [u32],
    /// By number of a word, a bit for each place; empty if there are too many.
    places: Vec<u128>,
}

impl<'a> Reference<'a> {
    pub fn new(words: &'a [u32]) -> Reference<'a> {
        let mut places = Vec::new();
        if words.len() <= COLUMNS_MAX {
            places.resize(words.iter().max().map_or(0, |word| *word as usize + 1), 0);
            words.iter().enumerate().for_each(|(place, word)| places[*word as usize] |= 1 << place);
        }
        Reference { words, places }
    }

    fn places(&self, word: u32) -> u128 {
        self.places.get(word as usize).copied().unwrap_or(0)
    }
}

/// A row of the table: for each column, whether its distance is one above, or one below, that of the column to its left.
#[derive(Clone, Copy)]
struct Row {
    above: u128,
    below: u128,
}

impl Row {
    /// The row after one more word, which stands at `places` of the reference.
    fn next(self, places: u128) -> Row {
        let Row { above, below } = self;
        let same = ((places & above).wrapping_add(above) ^ above) | places;
        // Whether a distance is above, or below, that of the row before; to the left of all columns it is above.
        let rises = (below | !(same | above)) << 1 | 1;
        let falls = (above & same) << 1;
        let crossed = places | below;
        Row { above: falls | !(crossed | rises), below: rises & crossed }
    }

    /// The distance in a column of this row.
    fn distance(self, row: usize, column: usize) -> u32 {
        let columns = if column == COLUMNS_MAX { u128::MAX } else { (1 << column) - 1 };
        row as u32 + (self.above & columns).count_ones() - (self.below & columns).count_ones()
    }
}

/// Rows for prefixes of a hypothesis, columns for prefixes of a reference.
pub struct Bits<'a> {
    hypothesis: &'a [u32],
    reference: &'a Reference<'a>,
    rows: Vec<Row>,
}

impl<'a> Bits<'a> {
    /// `None` where the reference is too long.
    pub fn new(hypothesis: &'a [u32], reference: &'a Reference) -> Option<Bits<'a>> {
        if reference.words.len() > COLUMNS_MAX {
            return None;
        }
        let mut rows = Vec::with_capacity(hypothesis.len() + 1);
        let mut row = Row { above: u128::MAX, below: 0 };
        rows.push(row);
        for word in hypothesis {
            row = row.next(reference.places(*word));
            rows.push(row);
        }
        Some(Bits { hypothesis, reference, rows })
    }

    /// The distance of prefixes.
    pub fn at(&self, row: usize, column: usize) -> u32 {
        self.rows[row].distance(row, column)
    }

    pub fn distance(&self) -> u32 {
        self.at(self.hypothesis.len(), self.reference.words.len())
    }

    /// The distance of the same words in another order, of which the first `shared` are at their place.
    pub fn distance_of(&self, shifted: &[u32], shared: usize) -> u32 {
        let last = shifted[shared..].iter().fold(self.rows[shared], |row, word| row.next(self.reference.places(*word)));
        last.distance(shifted.len(), self.reference.words.len())
    }
}
