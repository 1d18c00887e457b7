//! Every rule of every shipped profile at its threshold: a document just inside is kept, one just outside is rejected for that rule. Both go
//! through `import`, `clean` and `filter` with the shipped file.
//!
//! Documents are made of different words of four letters, so that shares are counts of words, and the formula of a share stands beside its case.

use std::collections::BTreeSet;

use crate::profile::{Profile, SHIPPED};
use crate::testing::{Lab, jsonl};

/// A rule with a document that just keeps it and one that just breaks it.
struct Case {
    rule: String,
    inside: String,
    outside: String,
}

fn case(rule: impl Into<String>, inside: impl Into<String>, outside: impl Into<String>) -> Case {
    Case { rule: rule.into(), inside: inside.into(), outside: outside.into() }
}

/// Runs the cases of a profile, which must name each of its rules at least once.
fn check(profile: &str, cases: &[Case]) {
    let named: BTreeSet<String> = cases.iter().map(|case| case.rule.clone()).collect();
    assert_eq!(named, rules(profile).into_iter().collect(), "{profile}");
    check_without(profile, &[], cases);
}

/// The same with the other rules left out, for rules that another one breaks first.
fn check_alone(profile: &str, case: &Case) {
    let others: Vec<String> = rules(profile).into_iter().filter(|rule| *rule != case.rule).collect();
    check_without(profile, &others, std::slice::from_ref(case));
}

fn rules(profile: &str) -> Vec<String> {
    let (_, file) = SHIPPED.iter().find(|(name, _)| *name == profile).unwrap();
    Profile::parse(profile, file).unwrap().rules.into_keys().collect()
}

fn check_without(profile: &str, without: &[String], cases: &[Case]) {
    let texts: Vec<&str> = cases.iter().flat_map(|case| [case.inside.as_str(), case.outside.as_str()]).collect();
    let lab = Lab::new(&[("a.jsonl", &jsonl(&texts))]);
    let steps = format!(
        "[[step]]\nstage = \"import\"\npaths = [\"*.jsonl\"]\n[[step]]\nstage = \"clean\"\nprofile = \"{profile}\"\n\
         [[step]]\nstage = \"filter\"\nwithout = {without:?}"
    );
    lab.run(&steps, 1).unwrap();
    let rejects = lab.rows("filter", "rejects", &["line", "rule", "value", "threshold"]);
    let reason = |line: usize| rejects.iter().find(|row| row.starts_with(&format!("{line}|")));
    for (index, case) in cases.iter().enumerate() {
        assert_eq!(reason(2 * index + 1), None, "{profile}: the inside of `{}` is rejected", case.rule);
        let reason = reason(2 * index + 2).unwrap_or_else(|| panic!("{profile}: the outside of `{}` is kept", case.rule));
        assert_eq!(reason.split('|').nth(1), Some(case.rule.as_str()), "{profile}: {reason}");
    }
    let kept = lab.rows("filter", "documents", &["line"]).len();
    assert_eq!(kept, cases.len(), "{profile}: `clean` rejects documents");
}

/// Different words without vowels, so that none is a word of any list.
#[derive(Default)]
struct Words {
    made: usize,
}

impl Words {
    fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"bcdfghjkmnpqrtvwxz";
        self.made += 1;
        let mut number = self.made;
        let mut word = vec![0; length];
        for letter in word.iter_mut().rev() {
            *letter = LETTERS[number % LETTERS.len()];
            number /= LETTERS.len();
        }
        String::from_utf8(word).unwrap()
    }

    fn words(&mut self, count: usize, length: usize) -> Vec<String> {
        (0..count).map(|_| self.word(length)).collect()
    }
}

const STOP_WORDS: [&str; 2] = ["that", "with"];

/// Two stop words, the parts with a word between them, and other words up to `count` in all.
fn document(parts: &[String], count: usize) -> String {
    let mut made = Words::default();
    let mut words: Vec<String> = STOP_WORDS.iter().map(|word| word.to_string()).collect();
    for part in parts {
        words.push(made.word(4));
        words.push(part.clone());
    }
    let taken = words.join(" ").split(' ').count();
    assert!(taken <= count, "{taken} words do not fit into {count}");
    words.extend(made.words(count - taken, 4));
    words.join(" ")
}

/// The least number for which the share keeps the limit.
fn least(limit: f64, share: impl Fn(f64) -> f64) -> usize {
    (1..).find(|number| share(*number as f64) <= limit).unwrap()
}

/// `count` lines: one with the stop words, the given ones with a line between them, and lines of six other words.
fn lines(given: &[String], count: usize, between: &str) -> String {
    let mut made = Words { made: 20_000 };
    let mut lines = vec![format!("{} {}", STOP_WORDS.join(" "), made.words(4, 4).join(" "))];
    for line in given {
        lines.push(line.clone());
        lines.push(made.words(6, 4).join(" "));
    }
    assert!(lines.len() <= count, "{} lines do not fit into {count}", lines.len());
    lines.resize_with(count, || made.words(6, 4).join(" "));
    lines.join(between)
}

/// Whose definition of Gopher's rules.
#[derive(Clone, Copy, PartialEq)]
enum Gopher {
    Paper,
    Datatrove,
    Dolma,
    Dclm,
}

use Gopher::{Datatrove, Dclm, Dolma, Paper};

impl Gopher {
    /// The definition's divisor where all copies of a line count, and where only the extra ones do.
    fn copies(self, all: f64, extra: f64) -> f64 {
        if self == Datatrove { extra } else { all }
    }

    fn cases(self) -> Vec<Case> {
        let mut cases = self.ngram_cases();
        cases.extend(self.line_cases());
        cases.extend(self.word_cases());
        if self != Dolma {
            cases.extend(self.paragraph_cases());
        }
        cases
    }

    fn ngram_cases(self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (n, limit) in [(2, 0.20), (3, 0.18), (4, 0.16)] {
            let length = n as f64;
            let count = least(limit, |words| match self {
                // Spaces count, in the n-gram and in the text.
                Datatrove => 12.0 * (5.0 * length - 1.0) / (5.0 * words - 1.0),
                _ => 12.0 * length / words,
            });
            let parts = vec![Words { made: 50_000 }.words(n, 4).join(" "); 12];
            cases.push(case(format!("top_{n}gram_char_ratio"), document(&parts, count), document(&parts, count - 1)));
        }
        for (n, limit) in [(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)] {
            let blocks = if n < 8 { 6.0 } else { 3.0 };
            let length = n as f64;
            let count = least(limit, |words| match self {
                // The second copy alone, without spaces.
                Datatrove => blocks * 4.0 * length / (5.0 * words - 1.0),
                // Against all n-grams, each for itself.
                Dolma => 2.0 * blocks / (words - length + 1.0).max(1.0),
                _ => 2.0 * blocks * length / words,
            });
            let mut made = Words { made: 50_000 };
            let blocks: Vec<String> = (0..blocks as usize).map(|_| made.words(n, 4).join(" ")).collect();
            let parts = [blocks.clone(), blocks].concat();
            cases.push(case(format!("duplicate_{n}gram_char_ratio"), document(&parts, count), document(&parts, count - 1)));
        }
        cases
    }

    fn line_cases(self) -> Vec<Case> {
        let mut made = Words { made: 50_000 };
        let short = vec![made.words(3, 4); 5].concat();
        let count = least(0.30, |lines| self.copies(15.0, 12.0) / lines);
        let mut cases = vec![case("duplicate_line_ratio", lines(&short, count, "\n"), lines(&short, count - 1, "\n"))];
        // Two copies of a line of 150 letters among lines of six words: 24 letters and 5 spaces.
        let long = vec![made.word(150); 2];
        let count = match self {
            Datatrove => least(0.20, |lines| 150.0 / (300.0 + 29.0 * (lines - 2.0) + lines - 1.0).max(150.0)),
            Dolma => least(0.30, |lines| 300.0 / (300.0 + 24.0 * (lines - 2.0)).max(300.0)),
            _ => least(0.20, |lines| 300.0 / (300.0 + 29.0 * (lines - 2.0)).max(300.0)),
        };
        cases.push(case("duplicate_line_char_ratio", lines(&long, count, "\n"), lines(&long, count - 1, "\n")));
        cases
    }

    fn paragraph_cases(self) -> Vec<Case> {
        let mut made = Words { made: 50_000 };
        // Paragraphs of one line among such of four: fewer lines repeat than paragraphs.
        let short = vec![made.words(3, 4); 5].concat();
        let count = least(0.30, |paragraphs| self.copies(15.0, 12.0) / paragraphs);
        let four = |count| lines(&short, count, "\n\n").split("\n\n").map(four_lines).collect::<Vec<_>>().join("\n\n");
        let mut cases = vec![case("duplicate_paragraph_ratio", four(count), four(count - 1))];
        // For datatrove a word of 150 letters. For the others, whose rule for lines comes first, 6 lines of 25 signs: line feeds count in paragraphs.
        let long = if self == Datatrove { made.word(150) } else { vec!["=".repeat(25); 6].join("\n") };
        let count = match self {
            Datatrove => least(0.20, |paragraphs| 150.0 / (300.0 + 29.0 * (paragraphs - 2.0) + 2.0 * (paragraphs - 1.0)).max(150.0)),
            _ => least(0.20, |paragraphs| 310.0 / (310.0 + 29.0 * (paragraphs - 2.0)).max(310.0)),
        };
        let long = vec![long; 2];
        cases.push(case("duplicate_paragraph_char_ratio", lines(&long, count, "\n\n"), lines(&long, count - 1, "\n\n")));
        cases
    }

    fn word_cases(self) -> Vec<Case> {
        let plain = |count| document(&[], count);
        let parts = |part: &str, parts: usize, count| document(&vec![part.to_string(); parts], count);
        let of_lengths = |lengths: &[(usize, usize)]| {
            let mut made = Words::default();
            let words: Vec<String> = lengths.iter().flat_map(|(count, length)| made.words(*count, *length)).collect();
            words.join(" ")
        };
        let mut cases = vec![case("word_count", plain(50), plain(49)), case("word_count", plain(100_000), plain(100_001))];
        if self == Dolma {
            let stop = |text: String| format!("{} {text}", STOP_WORDS.join(" "));
            cases.push(case("median_word_length", stop(of_lengths(&[(30, 2), (29, 3)])), stop(of_lengths(&[(31, 2), (29, 3)]))));
            cases.push(case("median_word_length", stop(of_lengths(&[(29, 10), (30, 11)])), stop(of_lengths(&[(29, 10), (31, 11)]))));
        } else {
            let short = |lengths: &[(usize, usize)]| format!("the and {}", of_lengths(lengths));
            let long = |lengths: &[(usize, usize)]| format!("that with {}", of_lengths(lengths));
            cases.push(case("mean_word_length", short(&[(60, 3)]), short(&[(59, 3), (1, 2)])));
            cases.push(case("mean_word_length", long(&[(60, 10), (2, 16)]), long(&[(60, 10), (1, 16), (1, 17)])));
        }
        match self {
            // Signs are no words.
            Paper => {
                cases.push(case("hash_word_ratio", parts("#", 10, 110), parts("#", 11, 111)));
                cases.push(case("ellipsis_word_ratio", parts("...", 10, 110), parts("…", 11, 111)));
            }
            Datatrove => {
                cases.push(case("hash_word_ratio", parts("#", 10, 100), parts("#", 11, 100)));
                cases.push(case("ellipsis_word_ratio", parts("...", 10, 100), parts("…", 11, 100)));
            }
            Dolma => {
                cases.push(case("symbol_word_ratio", parts("#xyz", 10, 100), parts("xyz…", 11, 100)));
                // Three full stops are no symbol.
                cases.push(case("symbol_word_ratio", parts("...", 20, 100), parts("#", 11, 100)));
            }
            Dclm => {
                let both = |count| document(&[vec!["#".to_string(); 5], vec!["...".to_string(); count]].concat(), 100);
                cases.push(case("symbol_word_ratio", both(5), both(6)));
            }
        }
        let numbers = |count: usize| document(&(1000..1000 + count).map(|number| number.to_string()).collect::<Vec<_>>(), 100);
        cases.push(case("alpha_word_ratio", numbers(20), numbers(21)));
        // Different ones or every one.
        let stops = |words: &str| plain(60).replace("that with", words);
        let (inside, outside) = if self == Datatrove { ("that with", "that that") } else { ("that that", "that xxxx") };
        cases.push(case("stop_word_count", stops(inside), stops(outside)));
        let marked = |count: usize, mark: &dyn Fn(&str) -> String| {
            let text = lines(&[], 100, "\n");
            text.split('\n')
                .enumerate()
                .map(|(line, text)| if line >= 100 - count { mark(text) } else { text.to_string() })
                .collect::<Vec<_>>()
                .join("\n")
        };
        let bullet = if self == Dolma { '*' } else { '•' };
        let bullets = |count| marked(count, &|line| format!("{bullet} {line}"));
        cases.push(case("bullet_line_ratio", bullets(90), bullets(91)));
        let ellipses = |count| marked(count, &|line| format!("{line}…"));
        cases.push(case("ellipsis_line_ratio", ellipses(30), ellipses(31)));
        cases
    }
}

/// A line as four lines of other words.
fn four_lines(line: &str) -> String {
    if line.contains(' ') { ["", "s", "l", "y"].map(|end| line.replace(' ', &format!("{end} "))).join("\n") } else { line.to_string() }
}

#[test]
fn gopher_rules_hold_at_their_thresholds() {
    check("gopher@paper", &Paper.cases());
    check("gopher@datatrove", &Datatrove.cases());
    check("gopher@dclm", &Dclm.cases());
}

#[test]
fn in_dolma_a_longer_ngram_cannot_fail_alone() {
    // Two repeated 5-grams are in each repeated 6-gram, and each counts for itself.
    let longer = |case: &Case| ["6", "7", "8", "9", "10"].iter().any(|n| case.rule == format!("duplicate_{n}gram_char_ratio"));
    let (longer, mut cases): (Vec<Case>, Vec<Case>) = Dolma.cases().into_iter().partition(longer);
    longer.iter().for_each(|case| check_alone("gopher@dolma", case));
    cases.extend(longer.into_iter().map(|long| case(long.rule, "", "")));
    let named: BTreeSet<String> = cases.iter().map(|case| case.rule.clone()).collect();
    assert_eq!(named, rules("gopher@dolma").into_iter().collect());
    cases.retain(|case| !case.inside.is_empty());
    check_without("gopher@dolma", &[], &cases);
}

#[test]
fn slimpajama_wants_200_characters_besides_punctuation() {
    let letters = |count: usize| format!("({}), -- .\t{}!\n", "x".repeat(count - 1), "文");
    check("slimpajama@paper", &[case("bare_char_count", letters(200), letters(199))]);
}

/// `count` different Han characters.
fn han(from: u32, count: usize) -> String {
    (from..).take(count).filter_map(|number| char::from_u32(0x4e00 + number)).collect()
}

#[test]
fn chinese_rules_hold_at_their_thresholds() {
    let mut cases = vec![case("char_count", han(0, 20), han(0, 19))];
    let many = |count: usize| {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x4e00 + (*state >> 8) % 20_000)
        };
        (0..count).scan(1, |state, _| next(state)).collect::<String>()
    };
    cases.push(case("char_count", many(160_000), many(160_001)));
    let with = |count: usize, other: &str| format!("{} {}", han(0, count), other);
    cases.push(case("han_ratio", with(30, &"x".repeat(70)), with(29, &"x".repeat(71))));
    cases.push(case("digit_ratio", with(70, &"1".repeat(30)), with(69, &"1".repeat(31))));
    cases.push(case("punctuation_ratio", with(65, &"，".repeat(35)), with(64, &"，".repeat(36))));
    // Lines of one character among lines of ten.
    let mixed = |first: &[&str], count: usize, length: usize| {
        let mut lines: Vec<String> =
            first.iter().enumerate().flat_map(|(at, line)| [line.to_string(), han(1000 + 10 * at as u32, 10)]).collect();
        let more = (lines.len()..count).map(|at| han(2000 + 10 * at as u32, if at + 1 == count { length } else { 10 }));
        lines.extend(more.collect::<Vec<_>>());
        lines.join("\n")
    };
    let short = ["甲"; 15];
    cases.push(case("duplicate_line_ratio", mixed(&short, 50, 10), mixed(&short, 49, 10)));
    // 40 letters of 200 characters.
    let long = ["x".repeat(20), "x".repeat(20)];
    let long = [long[0].as_str(), long[1].as_str()];
    cases.push(case("duplicate_line_char_ratio", mixed(&long, 18, 10), mixed(&long, 18, 9)));
    let parts = |parts: Vec<String>, count: usize| {
        let text: String = parts.iter().enumerate().map(|(at, part)| format!("{}{part}", han(10_000 + at as u32, 1))).collect();
        let left = count - text.chars().count();
        text + &han(11_000, left)
    };
    let same = |n| vec![han(5000, n); 10];
    cases.push(case("top_3gram_char_ratio", parts(same(3), 150), parts(same(3), 149)));
    cases.push(case("top_6gram_char_ratio", parts(same(6), 375), parts(same(6), 374)));
    let blocks = || (0..6).map(|block| han(5000 + 10 * (block % 3), 8)).collect();
    cases.push(case("duplicate_8gram_char_ratio", parts(blocks(), 320), parts(blocks(), 319)));
    check("zh@corpusmill", &cases);
}

#[test]
fn line_rules_come_before_c4s_rules_for_pages() {
    let line = |end: &str| format!("{}{end}", Words { made: 7 }.words(4, 4).join(" "));
    let page = |count: usize, more: &str| vec![line("."); count].join("\n") + more;
    let english = "The people of this town have said that they want to be left alone with their gardens and their dogs.\n".repeat(5);
    let german = "Die Leute in dieser Stadt haben gesagt, dass sie mit ihren Gärten und Hunden in Ruhe gelassen werden wollen.\n".repeat(5);
    for profile in ["c4@paper", "c4@datatrove", "fineweb@datatrove"] {
        check_alone(profile, &case("sentence_count", page(5, ""), page(4, "\nTwo words.")));
        check_alone(profile, &case("lorem_ipsum_count", page(5, "\nLorem."), page(5, "\nHere is Lorem Ipsum text.")));
        check_alone(profile, &case("curly_bracket_count", page(5, "\n{ }"), page(5, "\nHere is a { in it.")));
    }
    for profile in ["c4@paper", "fineweb@datatrove", "refinedweb@dclm"] {
        check_alone(profile, &case("english_probability", english.as_str(), german.as_str()));
    }
}

#[test]
fn fineweb_and_refinedweb_hold_at_their_thresholds() {
    let lines = |count: usize, words: usize| {
        let mut made = Words { made: 100 + words };
        (0..count).map(|_| made.words(words, 4).join(" ")).collect::<Vec<_>>()
    };
    let text = |lines: &[Vec<String>]| lines.concat().join("\n");
    let ended = |count: usize| {
        lines(25, 6).iter().enumerate().map(|(at, line)| line.clone() + if at < count { "." } else { "" }).collect::<Vec<_>>()
    };
    let fineweb = |case: Case| check_alone("fineweb@datatrove", &case);
    fineweb(case("terminal_line_ratio", text(&[ended(3)]), text(&[ended(2)])));
    // 29 characters are short, 34 are not.
    fineweb(case("short_line_ratio", text(&[lines(67, 6), lines(33, 7)]), text(&[lines(68, 6), lines(32, 7)])));
    let repeated = || [lines(1, 3), lines(1, 3)].concat();
    let count = least(0.01, |lines| 14.0 / (28.0 + 29.0 * lines));
    let copies = |count| text(&[repeated(), lines(count, 6)]);
    fineweb(case("fineweb_duplicate_line_char_ratio", copies(count), copies(count - 1)));
    // 9 line feeds for 30 words, 10 for 33.
    fineweb(case("newline_word_ratio", text(&[lines(10, 3)]), text(&[lines(11, 3)])));
    // Lines of one word go.
    let pages = |single: usize| text(&[lines(19, 5), lines(single, 1).iter().map(|word| format!("{word}x")).collect()]);
    check_alone("refinedweb@dclm", &case("removed_word_ratio", pages(5), pages(6)));
}

#[test]
fn fineweb_and_refinedweb_have_gophers_rules_of_their_programs() {
    let find = |name: &str| {
        let (_, file) = SHIPPED.iter().find(|(shipped, _)| *shipped == name).unwrap();
        Profile::parse(name, file).unwrap()
    };
    for (profile, gopher, column) in
        [("fineweb@datatrove", "gopher@datatrove", "before_c4_lines"), ("refinedweb@dclm", "gopher@dclm", "before_refinedweb_lines")]
    {
        let (whole, part) = (find(profile), find(gopher));
        for signal in &part.signal {
            let sql = signal.sql.replace("(text", &format!("({column}"));
            assert!(whole.signal.iter().any(|known| known.name == signal.name && known.sql == sql), "{profile}: {}", signal.name);
            assert_eq!(whole.rules.get(&signal.name), part.rules.get(&signal.name), "{profile}");
        }
    }
}
