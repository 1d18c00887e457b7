//! Merges from a ranked vocabulary, as tiktoken and SentencePiece keep it: any two neighbours whose text is a token may merge, the best rank
//! first, of equal ranks the leftmost.
//!
//! A list of merges, as a tokenizer.json has it, ranks pairs. One pair a token is enough: when all merges of better ranks are done, two
//! neighbours that spell a token of rank r have met no merge across their outer borders, so what happened between these is what happens
//! when the token's text is encoded alone with the ranks better than r. That gives the same two parts wherever the token comes to be, and a
//! token for which it gives more parts never comes to be by merging. So both programs make the same merges in the same order, for any text.

/// Where the two parts of `token` meet that merge into it; `None` where it cannot come from a merge. `starts` are the first bytes of its symbols,
/// `rank` gives the rank of a token and `own` is that of this one; small ranks are good.
pub(super) fn split(token: &[u8], mut starts: Vec<usize>, own: u32, rank: impl Fn(&[u8]) -> Option<u32>) -> Option<usize> {
    loop {
        let end = |index: usize| starts.get(index + 2).copied().unwrap_or(token.len());
        let pairs = (0..starts.len().saturating_sub(1)).filter_map(|index| Some((rank(&token[starts[index]..end(index)])?, index)));
        match pairs.filter(|(rank, _)| *rank < own).min() {
            Some((_, index)) => {
                starts.remove(index + 1);
            }
            None if starts.len() == 2 => return Some(starts[1]),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_are_those_that_better_ranks_leave() {
        let ranked = ["ab", "cd", "bc", "abc", "abcd", "aa", "aaa", "xyz"];
        let rank = |text: &[u8]| ranked.iter().position(|token| token.as_bytes() == text).map(|rank| rank as u32);
        for (token, expected) in [("ab", Some(1)), ("bc", Some(1)), ("abc", Some(2)), ("abcd", Some(2)), ("aaa", Some(2)), ("xyz", None)] {
            let own = rank(token.as_bytes()).unwrap();
            assert_eq!(split(token.as_bytes(), (0..token.len()).collect(), own, rank), expected, "{token}");
        }
    }
}
