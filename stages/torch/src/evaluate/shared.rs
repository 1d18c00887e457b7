//! The tokens that two texts share, as Python's `difflib.SequenceMatcher` finds them, which the script of CrowS-Pairs asks.

use std::collections::HashMap;

/// From so many tokens on, those that are more than a hundredth of all begin no match.
const POPULAR_FROM: usize = 200;

/// The places of equal tokens in both texts, in order: of the longest common stretch, and so on before and after it.
pub fn shared(a: &[i64], b: &[i64]) -> Vec<(usize, usize)> {
    let mut places: HashMap<i64, Vec<usize>> = HashMap::new();
    b.iter().enumerate().for_each(|(place, token)| places.entry(*token).or_default().push(place));
    if b.len() >= POPULAR_FROM {
        places.retain(|_, places| places.len() <= b.len() / 100 + 1);
    }
    let (mut open, mut found) = (vec![(0, a.len(), 0, b.len())], Vec::new());
    while let Some((a_from, a_to, b_from, b_to)) = open.pop() {
        let (i, j, length) = longest(a, b, &places, (a_from, a_to, b_from, b_to));
        if length > 0 {
            found.extend((0..length).map(|n| (i + n, j + n)));
            open.extend([(a_from, i, b_from, j), (i + length, a_to, j + length, b_to)]);
        }
    }
    found.sort_unstable();
    found
}

/// The longest common stretch within bounds, the first of equally long ones: its beginnings and its length.
fn longest(a: &[i64], b: &[i64], places: &HashMap<i64, Vec<usize>>, bounds: (usize, usize, usize, usize)) -> (usize, usize, usize) {
    let (a_from, a_to, b_from, b_to) = bounds;
    let (mut i, mut j, mut length) = (a_from, b_from, 0);
    // Lengths of the stretches that end at the token before, by where they end in `b`.
    let mut before: HashMap<usize, usize> = HashMap::new();
    for (at, token) in a.iter().enumerate().take(a_to).skip(a_from) {
        let mut here = HashMap::new();
        for place in places.get(token).into_iter().flatten().filter(|place| (b_from..b_to).contains(*place)) {
            let stretch = 1 + place.checked_sub(1).and_then(|place| before.get(&place)).copied().unwrap_or(0);
            here.insert(*place, stretch);
            if stretch > length {
                (i, j, length) = (at + 1 - stretch, place + 1 - stretch, stretch);
            }
        }
        before = here;
    }
    // Popular tokens began no match, but belong to those that they touch.
    while i > a_from && j > b_from && a[i - 1] == b[j - 1] {
        (i, j, length) = (i - 1, j - 1, length + 1);
    }
    while i + length < a_to && j + length < b_to && a[i + length] == b[j + length] {
        length += 1;
    }
    (i, j, length)
}
