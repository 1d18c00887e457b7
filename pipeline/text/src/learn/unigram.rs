//! Learning a unigram model (Kudo 2018, "Subword Regularization"), with the details of SentencePiece's trainer: expectation and maximization with a
//! sparse prior, then pruning of the pieces that the likelihood misses least, until the wanted number is left.
//!
//! It stands in for the trainer of the crate `tokenizers`, whose result depends on the number of threads and on randomly seeded hash maps.
//! Here sums of floating-point numbers are taken over fixed shares of the sorted words, in order, so any number of threads gives the same bits.

use rayon::prelude::*;

use super::seeds::substrings;
use super::trie::Trie;

/// Longer pieces are not learned; SentencePiece's `max_sentencepiece_length`.
pub(super) const PIECE_SYMBOLS_MAX: usize = 16;
/// Longer words are cut: probabilities of whole words must be representable.
const WORD_SYMBOLS_MAX: usize = 32;
/// Rounds of expectation and maximization between two prunings.
const ROUNDS: usize = 2;
/// Share of the pieces that a pruning leaves.
const SHRINKING_FACTOR: f64 = 0.75;
/// Pieces to begin with, per wanted one, and at most as many as SentencePiece takes.
const SEEDS_PER_PIECE: usize = 32;
const SEEDS_MAX: usize = 1_000_000;
/// A piece expected less often is dropped.
const MIN_EXPECTED: f64 = 0.5;
/// Shares of the words whose sums are added in order.
const SHARES: usize = 32;
/// Probabilities are multiplied by e to this power for each symbol, which changes no proportion and keeps products of long words representable.
const TILT: f64 = 6.0;

/// A word and how often it occurs.
pub(super) struct WeightedWord {
    pub(super) symbols: Vec<u32>,
    pub(super) count: u64,
}

/// A piece and its log probability.
struct Piece {
    symbols: Box<[u32]>,
    score: f64,
}

/// Learns `size` pieces or as many as `words` give, most probable first. All `symbols` below `alphabet` are among them; `size` must be larger.
/// `allowed` says which pieces may be learned.
pub(super) fn learn(
    words: Vec<WeightedWord>,
    alphabet: u32,
    size: usize,
    min_frequency: u64,
    allowed: impl Fn(&[u32]) -> bool,
) -> Vec<(Box<[u32]>, f64)> {
    let words = cut_long(words);
    let seeds = substrings(&words, min_frequency.max(1), (SEEDS_PER_PIECE * size).min(SEEDS_MAX));
    let mut counts = vec![1; alphabet as usize];
    words.iter().for_each(|word| word.symbols.iter().for_each(|symbol| counts[*symbol as usize] += word.count));
    let single = (0..alphabet).zip(counts).map(|(symbol, count)| (Box::from([symbol]), count));
    let mut seeds: Vec<(Box<[u32]>, u64)> = single.chain(seeds.into_iter().filter(|(symbols, _)| allowed(symbols))).collect();
    seeds.par_sort_unstable();
    let sum = seeds.iter().map(|(_, count)| *count as f64).sum::<f64>().ln();
    let mut pieces: Vec<Piece> = seeds.into_iter().map(|(symbols, count)| Piece { symbols, score: (count as f64).ln() - sum }).collect();
    let enough = size * 11 / 10;
    loop {
        for _ in 0..ROUNDS {
            let expected = expect(&pieces, &words);
            pieces = maximize(pieces, &expected);
        }
        if pieces.len() <= enough {
            break;
        }
        let wanted = enough.max((pieces.len() as f64 * SHRINKING_FACTOR) as usize);
        pieces = prune(pieces, &words, wanted);
    }
    let mut order: Vec<(bool, Piece)> = pieces.into_iter().map(|piece| (piece.symbols.len() > 1, piece)).collect();
    // Stable, from the order of symbols: single symbols first, all of them stay.
    order.sort_by(|(many, piece), (other_many, other)| many.cmp(other_many).then(other.score.total_cmp(&piece.score)));
    order.truncate(size);
    order.sort_by(|(_, piece), (_, other)| other.score.total_cmp(&piece.score).then_with(|| piece.symbols.cmp(&other.symbols)));
    order.into_iter().map(|(_, piece)| (piece.symbols, piece.score)).collect()
}

/// Words of bounded length, in an order that depends on nothing else.
fn cut_long(words: Vec<WeightedWord>) -> Vec<WeightedWord> {
    let cut = |word: WeightedWord| -> Vec<WeightedWord> {
        if word.symbols.len() <= WORD_SYMBOLS_MAX {
            return vec![word];
        }
        word.symbols.chunks(WORD_SYMBOLS_MAX).map(|symbols| WeightedWord { symbols: symbols.to_vec(), count: word.count }).collect()
    };
    let mut words: Vec<WeightedWord> = words.into_iter().flat_map(cut).collect();
    words.par_sort_unstable_by(|a, b| a.symbols.cmp(&b.symbols).then(a.count.cmp(&b.count)));
    words
}

fn trie_of(pieces: &[Piece]) -> Trie {
    Trie::new(&pieces.iter().map(|piece| &piece.symbols[..]).collect::<Vec<_>>())
}

/// How often each piece occurs, by the probabilities of all ways to cut the words (forward and backward sums).
fn expect(pieces: &[Piece], words: &[WeightedWord]) -> Vec<f64> {
    let trie = trie_of(pieces);
    let weights: Vec<f64> = pieces.iter().map(|piece| (piece.score + TILT * piece.symbols.len() as f64).exp()).collect();
    let shares: Vec<&[WeightedWord]> = words.chunks(words.len().div_ceil(SHARES).max(1)).collect();
    let mut total = vec![0.0; pieces.len()];
    // No more shares at once than there are threads, because each needs a number for every piece.
    for turn in shares.chunks(rayon::current_num_threads()) {
        let sums: Vec<Vec<f64>> = turn.par_iter().map(|words| expect_share(&trie, &weights, words)).collect();
        for sum in sums {
            total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
        }
    }
    total
}

fn expect_share(trie: &Trie, weights: &[f64], words: &[WeightedWord]) -> Vec<f64> {
    let mut expected = vec![0.0; weights.len()];
    // Start, end and piece.
    let mut edges: Vec<(usize, usize, usize)> = Vec::new();
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for word in words {
        let length = word.symbols.len();
        edges.clear();
        for zeros in [&mut forward, &mut backward] {
            zeros.clear();
            zeros.resize(length + 1, 0.0);
        }
        forward[0] = 1.0;
        backward[length] = 1.0;
        for start in 0..length {
            trie.prefixes(&word.symbols[start..], |symbols, piece| {
                forward[start + symbols] += forward[start] * weights[piece];
                edges.push((start, start + symbols, piece));
            });
        }
        for (start, end, piece) in edges.iter().rev() {
            backward[*start] += weights[*piece] * backward[*end];
        }
        let share = word.count as f64 / forward[length];
        for (start, end, piece) in &edges {
            expected[*piece] += share * forward[*start] * weights[*piece] * backward[*end];
        }
    }
    expected
}

/// New probabilities; rare pieces are dropped. Digamma instead of the logarithm acts as a sparse prior (Liang & Klein 2007).
fn maximize(pieces: Vec<Piece>, expected: &[f64]) -> Vec<Piece> {
    let kept: Vec<(Piece, f64)> = pieces
        .into_iter()
        .zip(expected)
        .filter(|(piece, expected)| **expected >= MIN_EXPECTED || piece.symbols.len() == 1)
        .map(|(piece, expected)| (piece, expected.max(MIN_EXPECTED)))
        .collect();
    let sum = digamma(kept.iter().map(|(_, expected)| expected).sum());
    kept.into_iter().map(|(piece, expected)| Piece { symbols: piece.symbols, score: digamma(expected) - sum }).collect()
}

/// The derivative of the logarithm of the gamma function, by its asymptotic series from 7 on.
fn digamma(mut x: f64) -> f64 {
    let mut result = 0.0;
    while x < 7.0 {
        result -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    result + x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// The `wanted` pieces, single symbols among them, without which the likelihood falls most.
fn prune(pieces: Vec<Piece>, words: &[WeightedWord], wanted: usize) -> Vec<Piece> {
    let trie = trie_of(&pieces);
    let share = words.len().div_ceil(SHARES).max(1);
    // Integers, so the order of the sums has no say.
    let counts = words.par_chunks(share).map(|words| best_counts(&trie, &pieces, words));
    let counts = counts.reduce(|| vec![0; pieces.len()], |a, b| a.into_iter().zip(b).map(|(a, b)| a + b).collect());
    let sum = counts.iter().sum::<u64>() as f64;
    let losses: Vec<Option<f64>> = pieces
        .par_iter()
        .enumerate()
        .map_init(Vec::new, |best, (index, piece)| {
            if piece.symbols.len() == 1 {
                return Some(f64::INFINITY);
            }
            let count = counts[index] as f64;
            if count == 0.0 {
                return None;
            }
            // In its place would stand the next best way to cut it.
            best_cut(&trie, &pieces, &piece.symbols, Some(index), best);
            let others: Vec<usize> = path(best).collect();
            let new_sum = (sum + count * (others.len() as f64 - 1.0)).ln();
            let replaced: f64 = others.iter().map(|other| (counts[*other] as f64 + count).ln() - new_sum).sum();
            Some(count * (count.ln() - sum.ln() - replaced))
        })
        .collect();
    let mut order: Vec<(f64, usize)> = losses.into_iter().zip(0..).filter_map(|(loss, index)| Some((loss?, index))).collect();
    order.sort_by(|(loss, _), (other, _)| other.total_cmp(loss));
    order.truncate(wanted);
    let mut keep = vec![false; pieces.len()];
    order.into_iter().for_each(|(_, index)| keep[index] = true);
    pieces.into_iter().zip(keep).filter_map(|(piece, keep)| keep.then_some(piece)).collect()
}

/// The best way to reach a place in a word: log probability, where the last piece starts, and that piece.
type Best = (f64, usize, usize);

/// Fills `best` with the most probable cut of a word, `without` one piece.
fn best_cut(trie: &Trie, pieces: &[Piece], symbols: &[u32], without: Option<usize>, best: &mut Vec<Best>) {
    best.clear();
    best.resize(symbols.len() + 1, (f64::NEG_INFINITY, 0, 0));
    best[0].0 = 0.0;
    for start in 0..symbols.len() {
        let before = best[start].0;
        trie.prefixes(&symbols[start..], |length, piece| {
            let score = before + pieces[piece].score;
            if score > best[start + length].0 && Some(piece) != without {
                best[start + length] = (score, start, piece);
            }
        });
    }
}

/// The pieces of the best cut, last first.
fn path(best: &[Best]) -> impl Iterator<Item = usize> {
    let mut end = best.len() - 1;
    std::iter::from_fn(move || {
        if end == 0 {
            return None;
        }
        let (_, start, piece) = best[end];
        end = start;
        Some(piece)
    })
}

fn best_counts(trie: &Trie, pieces: &[Piece], words: &[WeightedWord]) -> Vec<u64> {
    let mut counts = vec![0; pieces.len()];
    let mut best = Vec::new();
    for word in words {
        best_cut(trie, pieces, &word.symbols, None, &mut best);
        path(&best).for_each(|piece| counts[piece] += word.count);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_has_known_values() {
        for (x, expected) in
            [(0.5, -1.963_510_026_021_423), (1.0, -0.577_215_664_901_532_9), (10.0, 2.251_752_589_066_721), (1e6, 13.815_510_057_964)]
        {
            assert!((digamma(x) - expected).abs() < 1e-9, "{x}: {}", digamma(x));
        }
    }

    #[test]
    fn expected_counts_are_those_of_all_cuts() {
        // "aa" with a: 0.5 and aa: 0.25 has two cuts of equal probability, so 5 + 5 of 10 words.
        let pieces = [([0].as_slice(), 0.5f64), (&[0, 0], 0.25)];
        let pieces: Vec<Piece> = pieces.iter().map(|(symbols, p)| Piece { symbols: (*symbols).into(), score: p.ln() }).collect();
        let expected = expect(&pieces, &[WeightedWord { symbols: vec![0, 0], count: 10 }]);
        assert!((expected[0] - 10.0).abs() < 1e-9 && (expected[1] - 5.0).abs() < 1e-9, "{expected:?}");
        let mut best = Vec::new();
        best_cut(&trie_of(&pieces), &pieces, &[0, 0, 0], Some(1), &mut best);
        assert_eq!(path(&best).collect::<Vec<_>>(), [0, 0, 0]);
    }

    #[test]
    fn frequent_words_become_pieces() {
        let words = [("low", 50), ("lower", 20), ("newest", 60), ("widest", 30)];
        let words = words.map(|(text, count)| WeightedWord { symbols: text.bytes().map(|b| u32::from(b - b'a')).collect(), count }).into();
        let learned = learn(words, 26, 30, 1, |_| true);
        assert_eq!(learned.len(), 30);
        let texts: Vec<String> =
            learned.iter().take(4).map(|(symbols, _)| symbols.iter().map(|s| (b'a' + *s as u8) as char).collect()).collect();
        assert_eq!(texts, ["newest", "low", "widest", "lower"]);
        assert!(learned.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    }
}
