//! Loaded tokenizers against the programs that their files are for (golden/, made by tests/interop_tokenizers.py), and damaged files.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/golden").join(name)
}

fn options() -> ForeignOptions {
    ForeignOptions { lowercase: Some(true), pattern: Some(Pattern::Cl100k), ..ForeignOptions::default() }
}

const NAMES: [&str; 5] = ["small.tiktoken", "unigram.model", "bpe.model", "bare.model", "vocab.txt"];

fn load(name: &str) -> Tokenizer {
    Tokenizer::load_foreign(&golden(name), &options()).unwrap()
}

fn expected() -> (Value, Vec<String>) {
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("expected.json")).unwrap()).unwrap();
    let texts = ["texts", "more"].into_iter().flat_map(|list| expected[list].as_array().unwrap());
    let texts = texts.map(|text| text.as_str().unwrap().to_string()).collect();
    (expected, texts)
}

#[test]
fn ids_are_those_of_the_original_programs() {
    let (expected, texts) = expected();
    for name in NAMES {
        let tokenizer = load(name);
        let all = expected["ids"][name].as_array().unwrap();
        assert!(
            all.len() == if name.ends_with(".model") { texts.len() } else { expected["texts"].as_array().unwrap().len() } && all.len() > 80
        );
        for (text, ids) in texts.iter().zip(all) {
            let ids: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn long_texts_take_the_path_of_single_precision() {
    let (expected, texts) = expected();
    let long = vec![texts.join(" "); 8].join(" ");
    for (name, facts) in expected["long"].as_object().unwrap() {
        let ids = load(name).encode(&long).unwrap();
        let mut sum = flate2::Crc::new();
        ids.iter().for_each(|id| sum.update(&id.to_le_bytes()));
        assert_eq!(json!([ids.len(), sum.sum()]), *facts, "{name}");
    }
}

#[test]
fn saved_and_loaded_is_the_same() {
    for name in NAMES {
        let tokenizer = load(name);
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path(), None).unwrap();
        let again = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(again.special(), tokenizer.special(), "{name}");
        assert_eq!(again.vocabulary(), tokenizer.vocabulary(), "{name}");
        let text = "The  <sep>state of\nthe Union 国人 ﬁ <s> [CLS]";
        assert_eq!(again.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{name}");
    }
}

#[test]
fn roles_are_those_of_the_file() {
    let roles = |name: &str| {
        let special = *load(name).special();
        (special.bos, special.eos, special.unk, special.pad, special.cls)
    };
    assert_eq!(roles("unigram.model"), (Some(1), Some(2), Some(0), Some(3), None));
    assert_eq!(roles("bpe.model"), (Some(1), Some(2), Some(0), None, None));
    assert_eq!(roles("vocab.txt"), (None, None, Some(1), Some(0), Some(2)));
    assert_eq!(roles("small.tiktoken"), (None, None, None, None, None));
}

#[test]
fn decoding_gives_back_the_text() {
    for name in ["small.tiktoken", "bpe.model"] {
        let tokenizer = load(name);
        for text in ["The state of the Union, 1791.", "a  b\n\n\tc 国人<sep>", "🦊 é 한", " leading"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text, "{name}");
        }
    }
}

#[test]
fn files_beside_tell_roles_and_further_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    let file = folder.path().join("vocab.txt");
    std::fs::write(&file, "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\nThe\r\nthe\r\n").unwrap();
    write("tokenizer_config.json", json!({"do_lower_case": false, "pad_token": {"content": "[SEP]"}}));
    write("added_tokens.json", json!({"<user>": 7, "<extra>": 8}));
    write("special_tokens_map.json", json!({"eos_token": "<user>"}));
    let load = |options: &ForeignOptions| Tokenizer::load_foreign(&file, options);
    let tokenizer = load(&ForeignOptions::default()).unwrap();
    assert_eq!(tokenizer.encode("The the <user> <extra>").unwrap(), [5, 6, 1, 1, 1, 8]);
    assert_eq!((tokenizer.special().pad, tokenizer.special().eos), (Some(3), Some(7)));
    assert_eq!(tokenizer.vocabulary()[7..], [(7, "<user>".to_string(), true), (8, "<extra>".to_string(), false)]);
    let error = format!("{:#}", load(&options()).err().unwrap());
    assert!(
        error.ends_with("`lowercase` is true, and `do_lower_case` of the tokenizer_config.json beside it is false; leave `lowercase` out"),
        "{error}"
    );
    for (added, expected) in [
        (
            json!({"<user>": 9}),
            "the added token `<user>` has the id 9; the next free one is 7, ids must follow one another and not overlap",
        ),
        (json!({"The": 6}), "the added token `The` has the id 6 beside the file and 5 in it"),
        (json!({"x": -1}), "the added token `x` has no id from 0 to 16777216 in added_tokens.json or tokenizer_config.json"),
    ] {
        write("added_tokens.json", added);
        let error = format!("{:#}", load(&ForeignOptions::default()).err().unwrap());
        assert!(error.ends_with(expected), "{error}");
    }
    std::fs::write(folder.path().join("added_tokens.json"), "{").unwrap();
    let error = format!("{:#}", load(&ForeignOptions::default()).err().unwrap());
    assert!(error.contains("added_tokens.json` is no valid JSON: EOF while parsing"), "{error}");
}

/// The error of a file, without the part that names it.
fn error_of(name: &str, bytes: &[u8], options: &ForeignOptions) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    let error = format!("{:#}", Tokenizer::load_foreign(&file, options).err().unwrap());
    assert!(error.contains(&format!("`{}`", file.display())), "{error}");
    error.replace(&format!("`{}` ", file.display()), "")
}

#[test]
fn bad_vocabularies() {
    for (text, expected) in [
        ("[UNK]\nthe\n\nfox\n", "is no usable vocab.txt: line 3 is empty, and each line is a token"),
        ("[UNK]\nthe\nfox\nthe\n", "is no usable vocab.txt: lines 2 and 4 hold the same token `the`"),
        ("the\nfox\n", "is no usable vocab.txt: it has no token `[UNK]` for unknown words"),
        ("", "is no usable vocab.txt: line 1 is empty, and each line is a token"),
    ] {
        assert_eq!(error_of("vocab.txt", text.as_bytes(), &options()), expected);
    }
    let error = error_of("vocab.txt", b"[UNK]\n", &ForeignOptions::default());
    let expected = "is no usable vocab.txt: nothing tells whether it is for lower-cased text; set `lowercase`, or put its tokenizer_config.json beside it";
    assert_eq!(error, expected);
    assert!(error_of("vocab.txt", b"[UNK]\n\xff\n", &options()).starts_with("is no usable vocab.txt: it is not UTF-8: "));
    let expected =
        "is no tokenizer file of a known kind; expected a tokenizer.json, a vocab.txt (BERT), a .tiktoken file or a .model (SentencePiece)";
    assert_eq!(error_of("vocab.bin", b"", &options()), expected);
    assert!(error_of("tokenizer.json", b"{}", &options()).starts_with("is no usable tokenizer.json: "));
}

#[test]
fn bad_ranks() {
    let whole = std::fs::read_to_string(golden("small.tiktoken")).unwrap();
    let special = |token: &str, id: u32| ForeignOptions { special_tokens: Some([(token.to_string(), id)].into()), ..options() };
    let without =
        |line: usize| whole.split_inclusive('\n').enumerate().filter(|(n, _)| *n != line).map(|(_, line)| line).collect::<String>();
    for (text, options, expected) in [
        (format!("{whole}YWJj"), options(), "line 601: expected a token in base64, a space and a rank"),
        (format!("{whole}YWJ 600\n"), options(), "line 601: `YWJ` is no base64, or cut off"),
        (format!("{whole}Y*Jj 600\n"), options(), "line 601: `Y*Jj` is no base64, or cut off"),
        (format!("{whole}YWJj x\n"), options(), "line 601: `x` is no rank"),
        (format!("{whole}YWJj 99999999\n"), options(), "line 601: the rank 99999999 is out of range, 16777216 is the largest"),
        (format!("{whole}IQ== 600\n"), options(), "lines 34 and 601 hold the same token"),
        (format!("{whole}emVicmFz 5\n"), options(), "lines 6 and 601 have the same rank 5"),
        (without(65), options(), "the byte 0x41 is no token, so not every text could be encoded; is the file cut off?"),
        (without(400), options(), "the rank 400 is missing, and no special token has that id; is the file cut off?"),
        (whole[..4005].to_string(), options(), "line 439: expected a token in base64, a space and a rank"),
        (whole.clone(), special("<|end|>", 5), "the special token `<|end|>` has the id 5, which is the rank of a token"),
        (
            whole.clone(),
            special("<|end|>", 1 << 30),
            "the special token `<|end|>` has the id 1073741824, which is out of range, 16777216 is the largest",
        ),
        (whole.clone(), special("e", 600), "the special token `e` is an ordinary token, too"),
        (
            whole.clone(),
            special("zebra", 600),
            "a text that spells the special token `zebra` would become that token; special tokens need marks as in `<|name|>`",
        ),
    ] {
        let error = error_of("x.tiktoken", text.as_bytes(), &options);
        assert_eq!(error.strip_prefix("is no usable tiktoken file: ").unwrap(), expected);
    }
    let unknown = ForeignOptions::default();
    let error = error_of("x.tiktoken", whole.as_bytes(), &unknown);
    assert!(
        error.ends_with("does not tell how it cuts texts: set `pattern` to one of `gpt2`, `cl100k`, `o200k`, `qwen2`, `llama3`"),
        "{error}"
    );
    // A hole is filled by a special token, as in p50k_base.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cl100k_x.tiktoken");
    std::fs::write(&file, without(400)).unwrap();
    let options = ForeignOptions { pattern: None, ..special("<|endoftext|>", 400) };
    let tokenizer = Tokenizer::load_foreign(&file, &options).unwrap();
    assert_eq!((tokenizer.special().eos, tokenizer.vocabulary_size()), (Some(400), 600));
    assert!(!tokenizer.encode("<|endoftext|>").unwrap().contains(&400));
}

#[test]
fn names_tell_patterns() {
    for (name, expected) in [
        ("cl100k_base.tiktoken", Some(Pattern::Cl100k)),
        ("o200k_base.tiktoken", Some(Pattern::O200k)),
        ("p50k_base.tiktoken", Some(Pattern::Gpt2)),
        ("r50k_base.tiktoken", Some(Pattern::Gpt2)),
        ("qwen.tiktoken", Some(Pattern::Qwen2)),
        ("Meta-Llama-3-8B.model", Some(Pattern::Llama3)),
        ("tokenizer.model", None),
    ] {
        assert_eq!(Pattern::of(Path::new(name)).ok(), expected, "{name}");
    }
    assert!(Pattern::names().all(|name| Pattern::named(name).is_some()));
}

/// A field of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
    field(1, &[field(1, text.as_bytes()), vec![2 << 3 | 5], score.to_le_bytes().to_vec(), vec![3 << 3, kind]].concat())
}

fn trainer(settings: &[u8]) -> Vec<u8> {
    field(2, settings)
}

#[test]
fn bad_sentencepiece_models() {
    let unknown = || piece("<unk>", 0.0, 2);
    let bpe = || trainer(&[3 << 3, 2]);
    let charsmap = field(3, &field(2, &[8, 0, 0, 0, 0]));
    for (parts, expected) in [
        (vec![], "it holds no pieces"),
        (vec![trainer(&[3 << 3, 3]), unknown()], "its model type is `word`; only `unigram` and `bpe` are read"),
        (vec![trainer(&[3 << 3, 9]), unknown()], "its model type has the unknown number 9; only `unigram` (1) and `bpe` (2) are read"),
        (
            vec![trainer(&[24 << 3 & 0x7f | 0x80, 1, 1]), unknown()],
            "it puts spaces behind words (treat_whitespace_as_suffix), which a tokenizer.json cannot say",
        ),
        (vec![piece("a", 0.0, 1)], "it has 0 unknown pieces, and must have one"),
        (vec![unknown(), piece("a", 0.0, 1), piece("a", -1.0, 1)], "the pieces 1 and 2 are the same, `a`"),
        (vec![unknown(), piece("", 0.0, 1)], "piece 1: it has no text"),
        (vec![bpe(), unknown(), piece("a", 0.0, 5)], "its piece `a` is marked as unused, which is read for models of type unigram alone"),
        (vec![unknown(), piece("a", 0.0, 7)], "piece 1: it has the unknown type 7"),
        (vec![unknown(), piece("a", f32::NAN, 1)], "the score of piece 1 `a` is no number"),
        (vec![unknown(), piece("a", 0.0, 3)], "piece 1 `a` controls, and is a single character, which texts may hold"),
        (vec![unknown(), trainer(&[35 << 3 & 0x7f | 0x80, 2, 1])], "it falls back to bytes, and has no piece `<0x00>`"),
        (vec![bpe(), unknown(), piece("ab", 0.0, 1), piece("a", -1.0, 1)], "the character `b` of the piece `ab` is no piece"),
        (vec![unknown()], "it ends before its settings; is it cut off?"),
        (vec![unknown(), bpe()], "it ends before its settings; is it cut off?"),
        (vec![unknown(), trainer(&[]), charsmap], "its map of characters: it is damaged: its array of 8 bytes does not fit"),
        (vec![vec![0x0a, 5, 1]], "it is cut off: 5 bytes should follow byte 2 of a message, 1 do"),
        (vec![vec![0x0b]], "byte 1 of a message begins a field of the unknown type 3"),
        (vec![vec![0xff; 12]], "a number at byte 10 of a message is too long"),
    ] {
        let error = error_of("x.model", &parts.concat(), &options());
        assert_eq!(error.strip_prefix("is no usable SentencePiece model: ").unwrap(), expected);
    }
    // Cut anywhere, a model is refused.
    let whole = std::fs::read(golden("unigram.model")).unwrap();
    for end in (0..whole.len() - 200).step_by(97) {
        let error = error_of("x.model", &whole[..end], &options());
        assert!(
            error.contains("cut off") || error.contains("it has 0 unknown pieces") || error.contains("it holds no pieces"),
            "{end}: {error}"
        );
    }
}

/// Ids of sentencepiece 0.2.3.
#[test]
fn unused_pieces_are_never_found() {
    let used = [("▁", -1.0, 1), ("a", -1.0, 1), ("b", -2.0, 1), ("ab", -0.5, 5), ("abc", -0.125, 5), ("c", -1.5, 1), ("bc", -1.0, 1)];
    let pieces = used.into_iter().chain([("d", -1.0, 5), ("cd", -1.25, 1), ("e", -30.0, 5)]);
    let pieces: Vec<u8> = pieces.flat_map(|(text, score, kind)| piece(text, score, kind)).collect();
    let tokenizer = loaded(&[piece("<unk>", 0.0, 2), pieces, trainer(&[]), field(3, &[])].concat());
    for (text, expected) in [
        ("ab", &[1, 2, 3][..]),
        ("abc", &[1, 2, 7]),
        ("a bc", &[1, 2, 1, 7]),
        ("abcd", &[1, 2, 3, 9]),
        ("dd", &[1, 0]),
        ("cdd e", &[1, 9, 0, 1, 0]),
        ("abab", &[1, 2, 3, 2, 3]),
        ("adb", &[1, 2, 0, 3]),
    ] {
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text}");
    }
}

/// The tokenizer of a model file, saved and loaded.
fn loaded(model: &[u8]) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.model");
    std::fs::write(&file, model).unwrap();
    Tokenizer::load_foreign(&file, &options()).unwrap().save(folder.path(), None).unwrap();
    Tokenizer::load(folder.path()).unwrap()
}

/// Ids of sentencepiece 0.2.3. As in Mistral's models, the leftmost of pieces with one score is merged first, and merged on.
#[test]
fn pieces_of_one_score_are_merged_from_the_left() {
    let pieces = [("ab", -1.0), ("ba", -1.0), ("aba", -1.0), ("a", -2.0), ("b", -3.0), ("▁", -4.0)];
    let pieces: Vec<u8> = pieces.iter().flat_map(|(text, score)| piece(text, *score, 1)).collect();
    let tokenizer = loaded(&[trainer(&[3 << 3, 2]), piece("<unk>", 0.0, 2), pieces, field(3, &[])].concat());
    for (text, expected) in [
        ("aba", &[6, 3][..]),
        ("bab", &[6, 2, 5]),
        ("ababab", &[6, 3, 2, 5]),
        ("babba", &[6, 2, 5, 2]),
        ("bbaabab", &[6, 5, 2, 3, 5]),
        ("aabaab", &[6, 4, 3, 1]),
    ] {
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever a text spells, it never holds a piece that controls.
    #[test]
    fn special_tokens_in_a_text_are_text(text in "(<s>|</s>|<unk>|<pad>|<sep>|<0x0A>|▁| |the|é|中|[a-z]|\\PC){0,12}") {
        static TOKENIZERS: std::sync::OnceLock<Vec<Tokenizer>> = std::sync::OnceLock::new();
        for tokenizer in TOKENIZERS.get_or_init(|| NAMES.map(load).into()) {
            let special: Vec<u32> = tokenizer.vocabulary().into_iter().filter(|(_, _, special)| *special).map(|(id, _, _)| id).collect();
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert!(!ids.iter().any(|id| special.contains(id) && Some(*id) != tokenizer.special().unk), "{:?}", text);
            prop_assert_eq!(&ids, &tokenizer.encode_with_offsets(&text).unwrap().ids);
        }
    }

    /// Bytes of any kind are an error or a tokenizer, never a panic.
    #[test]
    fn damaged_bytes_never_panic(at in 0usize..15_000, byte: u8) {
        let mut bytes = std::fs::read(golden("unigram.model")).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.model");
        std::fs::write(&file, bytes).unwrap();
        if let Ok(tokenizer) = Tokenizer::load_foreign(&file, &options()) {
            tokenizer.encode("The ﬁrst Ａ state\n of <s> the Union").unwrap();
        }
    }
}
