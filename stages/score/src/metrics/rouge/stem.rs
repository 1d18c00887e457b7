//! The stemmer of Porter (1980) with the extensions of NLTK 3.9, which rouge-score uses, for tokens of ASCII letters and digits.

/// The stem of a token in lower case.
pub fn stem(token: &str) -> String {
    let irregular = match token {
        "sky" | "skies" => "sky",
        "dying" => "die",
        "lying" => "lie",
        "tying" => "tie",
        "innings" | "inning" => "inning",
        "outings" | "outing" => "outing",
        "cannings" | "canning" => "canning",
        "news" | "howe" | "proceed" | "exceed" | "succeed" => token,
        _ if token.len() <= 2 => token,
        _ => "",
    };
    if !irregular.is_empty() {
        return irregular.to_owned();
    }
    let word = plural(token.to_owned());
    let word = past(word);
    let word = last_y(word);
    let word = double_suffix(word);
    let word = apply(word, &SINGLE, |stem, _| measure(stem) > 0);
    let word = apply(word, &RESIDUAL, |stem, suffix| measure(stem) > 1 && (suffix != "ion" || stem.ends_with(['s', 't'])));
    last_letters(word)
}

fn is_consonant(word: &[u8], at: usize) -> bool {
    match word[at] {
        b'a' | b'e' | b'i' | b'o' | b'u' => false,
        b'y' => at == 0 || !is_consonant(word, at - 1),
        _ => true,
    }
}

/// How often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    let word = stem.as_bytes();
    (1..word.len()).filter(|at| is_consonant(word, *at) && !is_consonant(word, at - 1)).count()
}

fn has_vowel(stem: &str) -> bool {
    (0..stem.len()).any(|at| !is_consonant(stem.as_bytes(), at))
}

fn ends_double_consonant(word: &str) -> bool {
    let bytes = word.as_bytes();
    matches!(bytes, [.., a, b] if a == b) && is_consonant(bytes, bytes.len() - 1)
}

/// Consonant, vowel and a consonant but w, x or y; of two letters, vowel and consonant.
fn ends_short(word: &str) -> bool {
    let bytes = word.as_bytes();
    let consonant = |from_end: usize| is_consonant(bytes, bytes.len() - from_end);
    match bytes.len() {
        0 | 1 => false,
        2 => !consonant(2) && consonant(1),
        _ => consonant(3) && !consonant(2) && consonant(1) && !word.ends_with(['w', 'x', 'y']),
    }
}

/// Replaces the first suffix of a list that the word has, if the stem and the suffix allow it.
fn apply(word: String, rules: &[(&str, &str)], allowed: impl Fn(&str, &str) -> bool) -> String {
    for (suffix, with) in rules {
        if let Some(stem) = word.strip_suffix(suffix) {
            return if allowed(stem, suffix) { format!("{stem}{with}") } else { word };
        }
    }
    word
}

fn plural(word: String) -> String {
    if word.len() == 4 && word.ends_with("ies") {
        return format!("{}ie", &word[..1]);
    }
    apply(word, &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")], |_, _| true)
}

fn past(word: String) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word };
    }
    let stem = ["ed", "ing"].into_iter().filter_map(|suffix| word.strip_suffix(suffix)).find(|stem| has_vowel(stem));
    let Some(stem) = stem.map(str::to_owned) else { return word };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return stem + "e";
    }
    if ends_double_consonant(&stem) {
        return if stem.ends_with(['l', 's', 'z']) { stem } else { stem[..stem.len() - 1].to_owned() };
    }
    if measure(&stem) == 1 && ends_short(&stem) { stem + "e" } else { stem }
}

fn last_y(word: String) -> String {
    apply(word, &[("y", "i")], |stem, _| stem.len() > 1 && is_consonant(stem.as_bytes(), stem.len() - 1))
}

const DOUBLE: [(&str, &str); 22] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
    ("logi", "log"),
];

fn double_suffix(word: String) -> String {
    if let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        return double_suffix(format!("{stem}al"));
    }
    // The `l` of `logi` goes with the stem, so that `geologi` has one.
    apply(word, &DOUBLE, |stem, suffix| measure(&if suffix == "logi" { format!("{stem}l") } else { stem.to_owned() }) > 0)
}

const SINGLE: [(&str, &str); 7] =
    [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

const RESIDUAL: [(&str, &str); 19] = [
    ("al", ""),
    ("ance", ""),
    ("ence", ""),
    ("er", ""),
    ("ic", ""),
    ("able", ""),
    ("ible", ""),
    ("ant", ""),
    ("ement", ""),
    ("ment", ""),
    ("ent", ""),
    ("ion", ""),
    ("ou", ""),
    ("ism", ""),
    ("ate", ""),
    ("iti", ""),
    ("ous", ""),
    ("ive", ""),
    ("ize", ""),
];

/// A last `e`, and a last `l` of two.
fn last_letters(word: String) -> String {
    let word = match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || measure(stem) == 1 && !ends_short(stem) => stem.to_owned(),
        _ => word,
    };
    match word.strip_suffix('l') {
        Some(stem) if stem.ends_with('l') && measure(stem) > 1 => stem.to_owned(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_those_of_nltk() {
        let pairs = "caresses:caress ponies:poni ties:tie cats:cat agreed:agre plastered:plaster motoring:motor hopping:hop falling:fall \
                     filing:file happy:happi enjoy:enjoy relational:relat conditional:condit geology:geolog fulli:fulli hopefulness:hope \
                     triplicate:triplic adjustment:adjust adoption:adopt rate:rate controll:control dying:die died:die spied:spi \
                     x2:x2 generally:gener possibly:possibl as:as was:wa";
        for pair in pairs.split_whitespace() {
            let (word, expected) = pair.split_once(':').unwrap();
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
