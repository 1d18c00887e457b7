//! The ids of every configuration that is encoded by ourselves against those of the crate `tokenizers`.

use super::*;
use crate::learn::{Kind, Recipe, WordCounts};
use crate::tokenizer::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::str::FromStr;

/// Texts of the repository's samples.
fn samples() -> &'static [String] {
    static SAMPLES: OnceLock<Vec<String>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data-samples");
        let names = ["text/help-en", "text/help-zh", "text/rust-doc", "text/speeches", "text/tang-poems", "mails/mails"];
        let texts = |name: &str| {
            let file = std::fs::File::open(folder.join(format!("{name}.jsonl.zst"))).unwrap();
            let lines = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
            let text = |line: &str| Some(serde_json::from_str::<Value>(line).unwrap()["text"].as_str()?.to_string());
            let mut budget = 300_000usize;
            let within = |text: &String| {
                budget = budget.saturating_sub(text.len());
                budget > 0
            };
            lines.lines().filter_map(text).take_while(within).collect::<Vec<_>>()
        };
        names.into_iter().flat_map(texts).collect()
    })
}

fn learn(kind: impl Into<Recipe>, size: usize) -> Value {
    let mut counts = WordCounts::new(kind);
    counts.add(&samples().iter().map(String::as_str).collect::<Vec<_>>());
    let tokenizer = counts.learn(size, 2).unwrap();
    serde_json::from_str(&tokenizer.inner().to_string(false).unwrap()).unwrap()
}

fn tokenizer(file: &Value) -> Tokenizer {
    Tokenizer::new(tokenizers::Tokenizer::from_str(&file.to_string()).unwrap(), None).unwrap()
}

fn split(regex: &str, removed: bool) -> Value {
    let behavior = if removed { "Removed" } else { "Isolated" };
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": removed},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]})
}

/// One tokenizer for each pattern and each variant of BERT's normalization, past the check of the first documents.
fn variants() -> &'static [Tokenizer] {
    static VARIANTS: OnceLock<Vec<Tokenizer>> = OnceLock::new();
    VARIANTS.get_or_init(|| {
        let bytes = learn(Kind::ByteLevelBpe, 3000);
        let mut files = vec![bytes.clone()];
        for (index, pattern) in Pattern::ALL.into_iter().enumerate() {
            let mut file = bytes.clone();
            file["pre_tokenizer"] = split(pattern.regex(), index % 2 == 1);
            file["model"]["ignore_merges"] = (pattern == Pattern::Cl100k).into();
            if pattern == Pattern::Qwen2 {
                file["normalizer"] = json!({"type": "NFC"});
            }
            files.push(file);
        }
        let words = ["bert-uncased", "bert-cased"].map(|style| learn(Recipe::new(Kind::WordPiece, Some(style), None).unwrap(), 3000));
        for (lowercase, han, clean, accents) in [
            (true, true, true, Value::Null),
            (false, true, true, Value::Null),
            (true, false, true, json!(false)),
            (false, true, false, json!(true)),
            (true, false, false, json!(true)),
        ] {
            let mut file = words[usize::from(!lowercase)].clone();
            file["normalizer"]["handle_chinese_chars"] = han.into();
            file["normalizer"]["clean_text"] = clean.into();
            file["normalizer"]["strip_accents"] = accents;
            files.push(file);
        }
        let unigram = |style: &str| learn(Recipe::new(Kind::Unigram, Some(style), None).unwrap(), 3000);
        files.extend(["sentencepiece", "t5", "llama2"].map(unigram));
        let variants: Vec<Tokenizer> = files.iter().map(tokenizer).collect();
        for tokenizer in &variants {
            (0..CHECKED_DOCUMENTS).for_each(|_| drop(tokenizer.encode("checked").unwrap()));
            assert!(tokenizer.is_fast());
        }
        variants
    })
}

fn check(text: &str) {
    check_from(0, text);
}

/// The last variants, from one on.
fn check_from(first: usize, text: &str) {
    for (index, tokenizer) in variants().iter().enumerate().skip(first) {
        assert_eq!(tokenizer.encode(text).unwrap(), tokenizer.encode_with_offsets(text).unwrap().ids, "variant {index}, {text:?}");
    }
}

#[test]
fn samples_have_the_ids_of_the_crate() {
    samples().iter().for_each(|text| check(text));
    check("");
}

#[test]
fn long_pieces_have_the_ids_of_the_crate() {
    for unit in ["a", "aB", "中", "!", "1", " ", "\n", "é", "the", "\u{301}", "x1,"] {
        for count in [15, 16, 47, 49, 64, 255, 256, 3000] {
            check(&unit.repeat(count));
        }
    }
    // The time of pieces of a megabyte grows no faster than their length: this would take hours.
    let long = "abcdefghijklmnopqrstuvwxyz".repeat(40_000);
    let ids = variants()[0].encode(&long).unwrap();
    assert_eq!(variants()[0].decode(&ids).unwrap(), long);
}

/// A byte-level tokenizer with these merges, past the check of the first documents.
fn merging(merges: &[(&[u8], &[u8])]) -> Tokenizer {
    let mut file = learn(Kind::ByteLevelBpe, 257);
    let spelled = |bytes: &[u8]| bytes.iter().map(|byte| crate::pieces::byte_characters()[*byte as usize]).collect::<String>();
    for ((left, right), id) in merges.iter().zip(257..) {
        file["model"]["merges"].as_array_mut().unwrap().push(json!([spelled(left), spelled(right)]));
        file["model"]["vocab"][spelled(&[*left, *right].concat())] = id.into();
    }
    let tokenizer = tokenizer(&file);
    (0..CHECKED_DOCUMENTS).for_each(|_| drop(tokenizer.encode("word").unwrap()));
    tokenizer
}

#[test]
fn characters_whose_parts_merge_with_others_begin_as_bytes() {
    // Rank 0 reaches from the last byte of one character to the first of the next.
    let torn = merging(&[(b"\xad", b"\xe6"), (b"\xe4", b"\xb8"), (b"\xe4\xb8", b"\xad"), (b"\xe6", b"\x96"), (b"\xe6\x96", b"\x87")]);
    assert_eq!(torn.encode("中文").unwrap()[..2], [258, 257]);
    // The second character is whole, and merged with the letter, before the first is.
    let late = merging(&[
        (b"\xe6", b"\x96"),
        (b"\xe6\x96", b"\x87"),
        (b"\xe4\xb8\xad", b"\xe6\x96\x87"),
        (b"\xe6\x96\x87", b"a"),
        (b"\xe4", b"\xb8"),
        (b"\xe4\xb8", b"\xad"),
    ]);
    assert_eq!(late.encode("中文a").unwrap(), [262, 260]);
    for tokenizer in [torn, late] {
        for text in ["中文", "中文a", "文中", "a中", "中中文文a", "文a中a文"] {
            assert_eq!(tokenizer.encode(text).unwrap(), tokenizer.encode_with_offsets(text).unwrap().ids, "{text}");
        }
        assert!(tokenizer.is_fast());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mixed_text_has_the_ids_of_the_crate(text in "([a-zA-Z]{0,9} ?|['’](s|LL|re|ſ)?|[ \t\r\n]{0,3}|[0-9²٣]{0,5}|[!-/]{0,3}|[中文あé한豈Åß]{0,3}|[\u{301}\u{323}\u{a0}\u{3000}\u{85}\u{200b}\u{378}\u{9be}\u{c}\u{0}\u{37e}]|<\\|endoftext\\|>|\\[MASK\\]){0,30}") {
        check(&text);
    }

    #[test]
    fn any_text_has_the_ids_of_the_crate(text in any::<String>()) {
        check(&text);
    }
}

#[test]
fn every_character_is_normalized_as_by_the_crate() {
    let unigram = variants().len() - 3;
    // Planes 4 to 13 are not assigned, 15 and 16 are for private use.
    let all: Vec<char> = ('\0'..'\u{40000}').chain('\u{e0000}'..'\u{e1000}').collect();
    for part in all.chunks(2048) {
        check_from(unigram, &part.iter().map(|c| format!("e{c}\u{301} ")).collect::<String>());
        check_from(unigram, &part.iter().map(|c| format!("{c} x{c}가")).collect::<String>());
    }
}

#[test]
fn added_tokens_are_found_as_the_crate_finds_them() {
    let mut file = learn(Kind::ByteLevelBpe, 400);
    let token = |id: u64, content: &str, strip: bool| json!({"id": id, "content": content, "single_word": false, "lstrip": strip, "rstrip": strip, "normalized": true, "special": false});
    file["added_tokens"].as_array_mut().unwrap().extend([token(400, "<think>", false), token(401, "~x~", true)]);
    let tokenizer = tokenizer(&file);
    for text in ["no token", "a <think> b", "a  ~x~  b<|endoftext|>", "<thin", "~x"].repeat(30) {
        assert_eq!(tokenizer.encode(text).unwrap(), tokenizer.encode_with_offsets(text).unwrap().ids);
    }
    assert!(tokenizer.encode("<think>").unwrap() == [400] && tokenizer.is_fast());
}

#[test]
fn what_is_not_known_exactly_is_left_to_the_crate() {
    let bytes = learn(Kind::ByteLevelBpe, 300);
    let changed = |pointer: &str, value: Value| {
        let mut file = bytes.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        file
    };
    let mut fewer = bytes.clone();
    fewer["model"]["vocab"].as_object_mut().unwrap().remove("\u{0}".replace('\0', "Ā").as_str());
    let mut words = learn(Kind::WordPiece, 300);
    words["added_tokens"][4]["special"] = false.into();
    let mut pieces = learn(Kind::Unigram, 300);
    pieces["normalizer"]["normalizers"].as_array_mut().unwrap().remove(0);
    let files = [
        changed("/pre_tokenizer/add_prefix_space", true.into()),
        changed("/pre_tokenizer", split(r"\s+|\S+", false)),
        changed("/pre_tokenizer", split(Pattern::Gpt2.regex(), true)["pretokenizers"][0].clone()),
        changed("/normalizer", json!({"type": "NFKC"})),
        changed("/model/dropout", json!(0.5)),
        fewer,
        words,
        pieces,
    ];
    for (index, file) in files.iter().enumerate() {
        let tokenizer = tokenizer(file);
        assert!(!tokenizer.is_fast() && tokenizer.fell_back().is_none(), "file {index}");
        if index != 4 {
            let text = "The 2 [MASK] dogs'll\tsleep. ";
            assert_eq!(tokenizer.encode(text).unwrap(), tokenizer.encode_with_offsets(text).unwrap().ids, "file {index}");
        }
    }
}

#[test]
fn a_difference_is_told_and_the_ids_of_the_crate_are_given() {
    let own = tokenizer(&learn(Kind::ByteLevelBpe, 320));
    let other = tokenizer(&learn(Kind::ByteLevelBpe, 600));
    let fast = Fast::of(own.inner(), None).unwrap();
    let encode = |text: &str| {
        let mut ids = vec![7];
        fast.encode(other.inner(), text, &mut ids).unwrap();
        assert_eq!(ids[1..], other.encode_with_offsets(text).unwrap().ids);
    };
    encode("5");
    assert_eq!(fast.fell_back(), None);
    let text = "the other documents";
    encode(text);
    let told = fast.fell_back().unwrap();
    assert!(told.starts_with("token ") && told.ends_with("in the document that begins with \"the other documents\""), "{told}");
    for number in 0..2 * CHECKED_DOCUMENTS {
        encode(&format!("{text} {number}"));
    }
    assert_eq!(fast.fell_back().unwrap(), told);
}

#[test]
fn a_long_first_document_is_checked_by_its_beginning() {
    let own = tokenizer(&learn(Kind::ByteLevelBpe, 320));
    let fast = Fast::of(own.inner(), None).unwrap();
    let text = format!("{}é", "the other documents\n".repeat(60_000));
    let mut ids = Vec::new();
    fast.encode(own.inner(), &text, &mut ids).unwrap();
    assert_eq!(own.decode(&ids).unwrap(), text);
    assert_eq!(fast.checked_bytes.load(Ordering::Relaxed), CHECKED_BYTES);
}
