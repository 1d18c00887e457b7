//! Tests of learning, over the sample corpora where words must be real.

use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::Value;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Model, PreTokenizedString, Trainer};

use super::*;

/// English and Chinese documents of the samples.
fn samples() -> &'static [String] {
    static SAMPLES: OnceLock<Vec<String>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data-samples/text");
        let read = |name: &str| -> Vec<String> {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_string()).collect()
        };
        ["help-en.jsonl.zst", "help-zh.jsonl.zst", "tang-poems.jsonl.zst"]
            .into_iter()
            .flat_map(|name| {
                read(name).into_iter().scan(0, |bytes, text| {
                    *bytes += text.len();
                    (*bytes < 250_000).then_some(text)
                })
            })
            .collect()
    })
}

/// All kinds in all their styles.
fn recipes() -> Vec<Recipe> {
    let all = Kind::ALL.into_iter().flat_map(|kind| kind.styles().iter().map(move |style| (kind, style.name())));
    all.map(|(kind, style)| Recipe::new(kind, Some(style), None).unwrap()).collect()
}

fn counted(recipe: Recipe, texts: &[String]) -> WordCounts {
    let mut counts = WordCounts::new(recipe);
    for batch in texts.chunks(100) {
        counts.add(&batch.iter().map(String::as_str).collect::<Vec<_>>());
    }
    counts
}

fn name(recipe: &Recipe) -> String {
    format!("{} {}", recipe.kind().name(), recipe.style().name())
}

fn json(tokenizer: &Tokenizer) -> Value {
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(folder.path(), None).unwrap();
    serde_json::from_slice(&std::fs::read(folder.path().join("tokenizer.json")).unwrap()).unwrap()
}

/// The tokenizers of all recipes with 3000 tokens, learned once.
fn learned() -> &'static [(Recipe, Tokenizer)] {
    static LEARNED: OnceLock<Vec<(Recipe, Tokenizer)>> = OnceLock::new();
    LEARNED
        .get_or_init(|| recipes().into_iter().map(|recipe| (recipe.clone(), counted(recipe, samples()).learn(3000, 2).unwrap())).collect())
}

#[test]
fn threads_and_the_order_of_texts_change_nothing() {
    let learn = |recipe: &Recipe, threads: usize, turn: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut texts = samples()[..200].to_vec();
        texts.rotate_left(turn);
        pool.install(|| json(&counted(recipe.clone(), &texts).learn(1000, 2).unwrap()))
    };
    for recipe in recipes() {
        let expected = learn(&recipe, 1, 0);
        assert!(learn(&recipe, 2, 7) == expected, "{}", name(&recipe));
        assert!(learn(&recipe, 4, 111) == expected, "{}", name(&recipe));
    }
}

#[test]
fn byte_level_merges_are_those_of_the_crate() {
    for style in Kind::ByteLevelBpe.styles() {
        let recipe = Recipe::new(Kind::ByteLevelBpe, Some(style.name()), None).unwrap();
        let special = recipe.special_tokens().iter().map(|token| AddedToken::from(token.clone(), true)).collect();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(3000)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special)
            .build();
        let cutter = build(&recipe, &Vocabulary::default()).unwrap();
        let cut = |text: &str| {
            let mut cut = PreTokenizedString::from(text);
            if let Some(normalizer) = cutter.get_normalizer() {
                cut.normalize(|part| normalizer.normalize(part))?;
            }
            cutter.get_pre_tokenizer().unwrap().pre_tokenize(&mut cut)?;
            Ok(cut.get_splits(OffsetReferential::Original, OffsetType::Byte).into_iter().map(|(piece, _, _)| piece.to_string()).collect())
        };
        trainer.feed(samples().iter(), cut).unwrap();
        let mut model = BPE::default();
        trainer.train(&mut model).unwrap();
        let theirs = serde_json::to_value(&model).unwrap();
        let (_, tokenizer) = learned().iter().find(|(other, _)| *other == recipe).unwrap();
        let ours = json(tokenizer);
        assert_eq!(ours["model"]["merges"].as_array().unwrap().len(), 3000 - 256 - recipe.special_tokens().len());
        assert!(ours["model"]["merges"] == theirs["merges"], "{}", style.name());
        assert!(ours["model"]["vocab"] == theirs["vocab"], "{}", style.name());
    }
}

/// Sum of the log probabilities of the best cuts of all words, by the crate's model.
fn likelihood(model: &Unigram, words: &[(String, u32)]) -> f64 {
    let scores: HashMap<&str, f64> = model.iter().map(|(piece, score)| (piece.as_str(), *score)).collect();
    words
        .iter()
        .map(|(word, count)| f64::from(*count) * model.encode(word).unwrap().iter().map(|piece| scores[piece.as_str()]).sum::<f64>())
        .sum()
}

#[test]
fn a_unigram_model_is_as_likely_as_that_of_the_crate() {
    let recipe = Recipe::new(Kind::Unigram, Some("sentencepiece"), None).unwrap();
    // The crate wants room for all characters.
    let texts: Vec<String> = samples().iter().filter(|text| text.is_ascii()).take(200).cloned().collect();
    let texts = &texts[..];
    let counts = sum(counted(recipe.clone(), texts).shares.into_iter().map(|share| share.into_inner().unwrap()));
    let words = metaspace_words(&recipe, counts).unwrap();
    let mut words: Vec<(String, u32)> = words.into_iter().map(|(word, count)| (word, count as u32)).collect();
    words.sort();
    let trainer = UnigramTrainer::builder().show_progress(false).vocab_size(1000).unk_token(Some("<unk>".into())).build().unwrap();
    let mut theirs = Unigram::default();
    trainer.do_train(words.clone(), &mut theirs).unwrap();
    let ours = json(&counted(recipe, texts).learn(1000, 1).unwrap());
    let ours: Unigram = serde_json::from_str(&ours["model"].to_string()).unwrap();
    assert_eq!((ours.get_vocab_size(), theirs.get_vocab_size()), (1000, 1000));
    let (ours, theirs) = (likelihood(&ours, &words), likelihood(&theirs, &words));
    // Log probabilities are negative.
    assert!(ours > theirs, "{ours} is less likely than {theirs}");
}

#[test]
fn saved_files_say_the_same() {
    for (recipe, tokenizer) in learned() {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path(), None).unwrap();
        let loaded = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(loaded.vocabulary(), tokenizer.vocabulary(), "{}", name(recipe));
        assert!(json(&loaded) == json(tokenizer), "{}", name(recipe));
        let plain = tokenizers::Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        for text in samples().iter().step_by(20) {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(plain.encode_fast(text.as_str(), false).unwrap().get_ids(), ids, "{}", name(recipe));
            let tokens: Vec<String> = ids.iter().map(|id| plain.id_to_token(*id).unwrap()).collect();
            assert!(tokens.len() < text.len() || recipe.kind() == Kind::Characters, "{}", name(recipe));
        }
        assert!(tokenizer.vocabulary_size() == 3000 || recipe.kind() == Kind::Characters, "{}", name(recipe));
    }
}

/// Kinds and styles that give back any text.
fn lossless(recipe: &Recipe) -> bool {
    (recipe.kind() == Kind::ByteLevelBpe && recipe.style() != Style::Qwen2) || recipe.style() == Style::Llama2
}

#[test]
fn texts_come_back() {
    for (recipe, tokenizer) in learned() {
        for text in samples() {
            let back = tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap();
            if lossless(recipe) {
                assert_eq!(back, *text, "{}", name(recipe));
            } else if recipe.style() == Style::Qwen2 {
                assert_eq!(back, crate::nfc(text));
            }
        }
    }
}

#[test]
fn little_is_unknown() {
    for (recipe, tokenizer) in learned() {
        let (mut tokens, mut unknown) = (0, 0);
        for text in samples() {
            let ids = tokenizer.encode(text).unwrap();
            tokens += ids.len();
            unknown += ids.iter().filter(|id| recipe.kind() != Kind::ByteLevelBpe && Some(**id) == tokenizer.special().unk).count();
        }
        let rate = unknown as f64 / tokens as f64;
        let most = match recipe.kind() {
            // Half of 3000 tokens for the characters is not much for Chinese.
            Kind::WordPiece => 0.06,
            _ if recipe.has_byte_tokens() => 0.0,
            _ => 0.05,
        };
        assert!(rate <= most, "{}: {rate}", name(recipe));
    }
}

#[test]
fn special_tokens_have_the_first_ids_and_no_text_becomes_one() {
    for (recipe, tokenizer) in learned() {
        let special = recipe.special_tokens();
        let vocabulary = tokenizer.vocabulary();
        for (id, token) in special.iter().enumerate() {
            assert_eq!(vocabulary[id], (id as u32, token.clone(), true), "{}", name(recipe));
        }
        assert_eq!(vocabulary.iter().filter(|(_, _, special)| *special).count(), special.len());
        let text = format!("x{} <0x41> {}", special.join(""), special.join(" "));
        let ids = tokenizer.encode(&text).unwrap();
        let unknown = tokenizer.special().unk.filter(|_| matches!(recipe.kind(), Kind::WordPiece | Kind::Characters));
        assert!(ids.iter().all(|id| *id as usize >= special.len() || Some(*id) == unknown), "{} {ids:?}", name(recipe));
        if lossless(recipe) {
            assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{}", name(recipe));
        }
    }
    // Even when the texts are full of them.
    let texts = vec!["<s> <unk>a</s> <0x0A> </s>".repeat(50); 20];
    for kind in [Kind::ByteFallbackBpe, Kind::Unigram] {
        let tokenizer = counted(Recipe::new(kind, Some("llama2"), None).unwrap(), &texts).learn(400, 1).unwrap();
        let ids = tokenizer.encode(&texts[0]).unwrap();
        assert!(ids.iter().all(|id| *id >= 259), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), texts[0]);
    }
}

#[test]
fn roles_follow_from_the_style() {
    let roles = |kind: Kind, style: &str| {
        let (_, tokenizer) = learned().iter().find(|(recipe, _)| recipe.kind() == kind && recipe.style().name() == style).unwrap();
        let special = *tokenizer.special();
        [special.bos, special.eos, special.unk, special.pad]
    };
    assert_eq!(roles(Kind::ByteLevelBpe, "llama3"), [Some(0), Some(1), None, None]);
    assert_eq!(roles(Kind::ByteFallbackBpe, "llama2"), [Some(1), Some(2), Some(0), None]);
    assert_eq!(roles(Kind::Unigram, "t5"), [None, Some(1), Some(2), Some(0)]);
    assert_eq!(roles(Kind::WordPiece, "bert-chinese"), [None, None, Some(1), Some(0)]);
}

#[test]
fn styles_normalize_as_they_say() {
    let tokens = |kind: Kind, style: &str, text: &str| -> String {
        let (_, tokenizer) = learned().iter().find(|(recipe, _)| recipe.kind() == kind && recipe.style().name() == style).unwrap();
        let vocabulary = tokenizer.vocabulary();
        tokenizer.encode(text).unwrap().into_iter().map(|id| vocabulary[id as usize].1.clone()).collect::<Vec<_>>().concat()
    };
    assert_eq!(tokens(Kind::WordPiece, "bert-uncased", "The"), "the");
    assert_eq!(tokens(Kind::WordPiece, "bert-cased", "The"), "The");
    assert_eq!(tokens(Kind::Unigram, "t5", " the\n ｆile  "), "▁the▁file");
    assert_eq!(tokens(Kind::ByteFallbackBpe, "sentencepiece", "the\tﬁle"), "▁the▁file");
    assert_eq!(tokens(Kind::Unigram, "llama2", "the  file\n"), "▁the▁▁file<0x0A>");
    assert_eq!(tokens(Kind::ByteFallbackBpe, "llama2", "☂"), "▁<0xE2><0x98><0x82>");
}

#[test]
fn every_character_is_a_token() {
    let texts = vec!["to be, or\n不 to be".to_string(); 2];
    let tokenizer = counted(Recipe::from(Kind::Characters), &texts).learn(100, 2).unwrap();
    assert_eq!((tokenizer.special().eos, tokenizer.special().unk, tokenizer.vocabulary_size()), (Some(0), Some(1), 11));
    let text = "不\n be, to ";
    let ids = tokenizer.encode(text).unwrap();
    assert_eq!((ids.len(), tokenizer.decode(&ids).unwrap()), (text.chars().count(), text.to_string()));
    assert_eq!(tokenizer.encode("éào").unwrap()[..2], [1, 1]);
}

#[test]
fn a_large_vocabulary_is_not_filled() {
    let texts = vec!["the fox the dog the den".to_string(); 3];
    for recipe in recipes() {
        let tokenizer = counted(recipe.clone(), &texts).learn(5000, 2).unwrap();
        let size = tokenizer.vocabulary_size();
        assert!(size > recipe.fixed_tokens().len() && size < 400, "{}: {size}", name(&recipe));
    }
}

#[test]
fn errors_say_what_is_valid() {
    let error = |kind: Kind, style: Option<&str>, special: Option<&[&str]>| {
        let special = special.map(|tokens| tokens.iter().map(|token| token.to_string()).collect::<Vec<_>>());
        Recipe::new(kind, style, special.as_deref()).unwrap_err().to_string()
    };
    assert_eq!(error(Kind::Unigram, Some("gpt2"), None), "`unigram` has no style `gpt2`; valid styles: `sentencepiece`, `llama2`, `t5`");
    assert_eq!(error(Kind::WordPiece, None, Some(&["[PAD]"])), "`special_tokens` of `wordpiece` must have `[UNK]`");
    assert_eq!(error(Kind::ByteLevelBpe, None, Some(&["<s>", "<s>"])), "the special token `<s>` is listed twice");
    for wrong in ["", "a", "##a", "<0x00>", " ab"] {
        assert!(error(Kind::ByteLevelBpe, None, Some(&[wrong])).starts_with(&format!("`{wrong}` cannot be a special token")));
    }
    for recipe in recipes() {
        let least = (0..).find(|size| recipe.check_size(*size).is_ok()).unwrap();
        let error = WordCounts::new(recipe.clone()).learn(least - 1, 2).err().unwrap().to_string();
        assert_eq!(error, format!("a vocabulary of {} tokens is too small: `{}` needs at least {least}", least - 1, recipe.kind().name()));
        // The least is enough, also for no text at all.
        WordCounts::new(recipe.clone()).learn(least, 2).unwrap();
        assert!(counted(recipe, &samples()[..50]).learn(least, 2).unwrap().vocabulary_size() <= least);
    }
}

#[test]
fn special_tokens_of_ones_own() {
    let special = ["<s>", "</s>", "<pad>", "<mask>"].map(String::from);
    let recipe = Recipe::new(Kind::ByteLevelBpe, Some("qwen2"), Some(&special)).unwrap();
    let tokenizer = counted(recipe, &samples()[..50]).learn(500, 2).unwrap();
    let roles = tokenizer.special();
    assert_eq!((roles.bos, roles.eos, roles.pad, roles.mask, roles.unk), (Some(0), Some(1), Some(2), Some(3), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_text_survives(text in "[a-c中文 \n\té<>0x_\u{301}A]{0,20}|\\PC{0,20}|.{0,9}") {
        // `▁` stands for a blank, here as in SentencePiece.
        prop_assume!(!text.contains('▁'));
        for (recipe, tokenizer) in learned().iter().filter(|(recipe, _)| lossless(recipe)) {
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(&tokenizer.decode(&ids).unwrap(), &text, "{}", name(recipe));
        }
    }
}
