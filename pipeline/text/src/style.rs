//! How text is normalized and cut, and which special tokens there are, as families of models have it.

use serde_json::{Value, json};

use crate::patterns::Pattern;

/// A normalizer, a pre-tokenizer and special tokens that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// GPT-2's regular expression; `<|endoftext|>`.
    Gpt2,
    /// GPT-4's regular expression: up to three digits, a mark before letters; `<|endoftext|>`.
    Cl100k,
    /// The same expression; `<|begin_of_text|>`, `<|end_of_text|>`.
    Llama3,
    /// The same expression with single digits, after Unicode NFC; `<|endoftext|>`, `<|im_start|>`, `<|im_end|>`.
    Qwen2,
    /// GPT-4o's regular expression: words cut before capital letters; `<|endoftext|>`.
    O200k,
    /// BERT's words, case and accents kept; `[PAD] [UNK] [CLS] [SEP] [MASK]`.
    BertCased,
    /// BERT's words in lower case without accents, as `bert-base-uncased`.
    BertUncased,
    /// As `bert-uncased`, but characters may take three quarters of the vocabulary instead of half. Google's Chinese BERT is lower-cased too
    /// (`validate_case_matches_checkpoint` in google-research/bert).
    BertChinese,
    /// Text as it is, blanks as `▁`, one put before it; single digits; bytes of what is not in the vocabulary. `<unk>`, `<s>`, `</s>`.
    Llama2,
    /// Unicode NFKC, runs of white space as one `▁`; `<unk>`, `<s>`, `</s>`.
    SentencePiece,
    /// The same without white space at the end; `<pad>`, `</s>`, `<unk>`.
    T5,
    /// Text as it is; `<|endoftext|>`, `<unk>`.
    Plain,
}

impl Style {
    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Style::Gpt2 => "gpt2",
            Style::Cl100k => "cl100k",
            Style::Llama3 => "llama3",
            Style::Qwen2 => "qwen2",
            Style::O200k => "o200k",
            Style::BertCased => "bert-cased",
            Style::BertUncased => "bert-uncased",
            Style::BertChinese => "bert-chinese",
            Style::Llama2 => "llama2",
            Style::SentencePiece => "sentencepiece",
            Style::T5 => "t5",
            Style::Plain => "plain",
        }
    }

    /// The special tokens in order of their ids, which come first.
    pub fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Style::Gpt2 | Style::Cl100k | Style::O200k => &["<|endoftext|>"],
            Style::Llama3 => &["<|begin_of_text|>", "<|end_of_text|>"],
            Style::Qwen2 => &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            Style::BertCased | Style::BertUncased | Style::BertChinese => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            Style::Llama2 | Style::SentencePiece => &["<unk>", "<s>", "</s>"],
            Style::T5 => &["<pad>", "</s>", "<unk>"],
            Style::Plain => &["<|endoftext|>", "<unk>"],
        }
    }

    /// The expression that cuts text, for the byte-level styles.
    pub(crate) fn pattern(self) -> Option<Pattern> {
        match self {
            Style::Gpt2 => Some(Pattern::Gpt2),
            Style::Cl100k | Style::Llama3 => Some(Pattern::Cl100k),
            Style::Qwen2 => Some(Pattern::Qwen2),
            Style::O200k => Some(Pattern::O200k),
            _ => None,
        }
    }

    /// The normalizer as tokenizer.json has it.
    pub(crate) fn normalizer(self) -> Value {
        let bert = |lowercase: bool| json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": lowercase});
        let one_blank = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
        match self {
            Style::Gpt2 | Style::Cl100k | Style::Llama3 | Style::O200k | Style::Plain => Value::Null,
            Style::Qwen2 => json!({"type": "NFC"}),
            Style::BertCased => bert(false),
            Style::BertUncased | Style::BertChinese => bert(true),
            Style::Llama2 => json!({"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ]}),
            // As `SentencePieceUnigramTokenizer` of tokenizers; `Nmt` drops control characters and takes all white space for blanks.
            Style::SentencePiece => json!({"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"}, one_blank]}),
            Style::T5 => json!({"type": "Sequence", "normalizers": [
                {"type": "Nmt"},
                {"type": "NFKC"},
                {"type": "Strip", "strip_left": false, "strip_right": true},
                one_blank,
            ]}),
        }
    }
}
