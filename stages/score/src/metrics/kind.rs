//! The kinds of predictions and their rows: which task of `predict` they come from and what one row says.

use super::{Measure, Options};

/// A kind of predictions.
pub trait Kind: Sized + 'static {
    /// One row; it borrows from the batch that was read.
    type Row<'a>: Sync;
    /// As the fact `task` of predictions names it.
    const TASK: &'static str;

    /// Makes a measure, if the metric is for this kind.
    fn measure(start: &Start, options: &Options) -> Option<Box<dyn Measure<Self>>>;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $task:literal, $life:lifetime $row:ty;)*) => {
        $(
            $(#[$doc])*
            pub struct $kind;

            impl Kind for $kind {
                type Row<$life> = $row;
                const TASK: &'static str = $task;

                fn measure(start: &Start, options: &Options) -> Option<Box<dyn Measure<Self>>> {
                    if let Start::$kind(start) = start { Some(start(options)) } else { None }
                }
            }
        )*

        /// Makes a measure over the rows of one kind of predictions.
        pub enum Start {
            $($kind(fn(&Options) -> Box<dyn Measure<$kind>>),)*
        }

        impl Start {
            /// The task of the predictions that the metric applies to.
            pub fn task(&self) -> &'static str {
                match self {
                    $(Start::$kind(_) => $task,)*
                }
            }
        }
    };
}

kinds! {
    /// Likelihoods of tokens.
    Tokens: "language-modelling", 'a TokenRow;
    /// One class a text.
    Labels: "classify", 'a LabelRow<'a>;
    /// Several classes a text, or none.
    Sets: "multi-label", 'a SetRow;
    /// A number a text.
    Numbers: "number", 'a NumberRow;
    /// A tag a word.
    Tags: "tag", 'a TagRow;
    /// Answers to questions.
    Answers: "answer", 'a AnswerRow<'a>;
    /// Written texts.
    Texts: "complete", 'a TextRow<'a>;
    /// Likelihoods of the choices of a question.
    Choices: "choose", 'a ChoiceRow<'a>;
    /// Likelihoods of texts that differ in whom they speak of.
    Contrasts: "contrast", 'a ContrastRow<'a>;
}

/// A row of language modelling: the sums over some predicted tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenRow {
    /// Negative log-likelihood in nats, summed over the tokens.
    pub nll: f64,
    /// Predicted tokens.
    pub tokens: u64,
    /// Tokens whose likeliest prediction was right; `None` where the system does not tell.
    pub correct: Option<u64>,
    /// UTF-8 bytes the tokens stand for; `None` where unknown.
    pub bytes: Option<u64>,
    /// Words that the tokens stand for: as lm-evaluation-harness counts them, pieces between runs of white space. `None` where unknown.
    pub words: Option<u64>,
}

/// A row of classification, labels as indices of classes.
#[derive(Clone, Copy, Debug)]
pub struct LabelRow<'a> {
    pub gold: usize,
    pub prediction: usize,
    /// One for each class, where the system tells.
    pub probabilities: Option<&'a [f32]>,
}

/// A row of classification with several classes; indices of classes without repetition.
#[derive(Clone, Debug)]
pub struct SetRow {
    pub gold: Vec<u32>,
    pub prediction: Vec<u32>,
}

/// A row of regression; both are finite.
#[derive(Clone, Copy, Debug)]
pub struct NumberRow {
    pub gold: f64,
    pub prediction: f64,
}

/// A row of tagging: a tag for each word, as indices of tags, equally many on both sides.
#[derive(Clone, Debug)]
pub struct TagRow {
    pub gold: Vec<u32>,
    pub prediction: Vec<u32>,
}

/// A row of question answering; a question without answer has no gold, and an empty prediction says so.
#[derive(Clone, Debug)]
pub struct AnswerRow<'a> {
    pub golds: Vec<&'a str>,
    pub prediction: &'a str,
}

/// A row of completion: one written text and the texts it is held against, at least one.
#[derive(Clone, Debug)]
pub struct TextRow<'a> {
    pub hypothesis: &'a str,
    pub references: Vec<&'a str>,
    /// The log-likelihood in nats of its tokens and how many they are, one that ended it among them; `None` where the system does not tell.
    pub likelihood: Option<(f64, u64)>,
}

impl<'a> TextRow<'a> {
    /// Of a system that tells no likelihood.
    pub fn new(hypothesis: &'a str, references: Vec<&'a str>) -> TextRow<'a> {
        TextRow { hypothesis, references, likelihood: None }
    }
}

/// A row of multiple choice: log-likelihoods in nats, one for each choice, of which there is at least one.
#[derive(Clone, Debug)]
pub struct ChoiceRow<'a> {
    /// Number of the right choice.
    pub gold: usize,
    pub choices: Vec<&'a str>,
    /// Of each choice after its question.
    pub log_likelihoods: &'a [f64],
    /// Of each choice without its question, where the system tells.
    pub unconditional: Option<&'a [f64]>,
}

/// A row of counterfactual texts: log-likelihoods in nats, of whatever the system compares (a sentence, or its mean over tokens).
#[derive(Clone, Copy, Debug)]
pub struct ContrastRow<'a> {
    /// Of the text that holds the stereotype (or, in CrowS-Pairs, the one that stereotypes more).
    pub stereotype: f64,
    /// Of the text that speaks of the others (or stereotypes less).
    pub anti_stereotype: f64,
    /// Of the text that makes no sense, which StereoSet has.
    pub unrelated: Option<f64>,
    /// Whether the pair shows a stereotype about a disadvantaged group, and not one against it, which CrowS-Pairs tells.
    pub is_stereo: Option<bool>,
    /// The term that StereoSet's texts are about.
    pub target: Option<&'a str>,
}
