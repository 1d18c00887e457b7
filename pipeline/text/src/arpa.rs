//! N-gram language models in the ARPA text format (plain or gz), as KenLM's `lmplz`, SRILM and others write them: perplexity of a text.
//!
//! KenLM's binary files are refused: their layout depends on the version, the data structure and the machine that wrote them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A back-off model. Logarithms have base 10, as in the file.
pub struct Arpa {
    order: usize,
    /// Ids of words; 0 is `<unk>`.
    words: HashMap<String, u32>,
    /// By a hash of the ids of the n-gram.
    ngrams: HashMap<u64, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    probability: f32,
    backoff: f32,
}

/// What KenLM gives an unknown word when the model has no `<unk>`.
const UNKNOWN: f32 = -100.0;

impl Arpa {
    /// Reads a model; a broken line is an error with its number.
    pub fn load(path: &Path) -> Result<Arpa> {
        Arpa::read(File::open(path).with_context(|| format!("opening `{}`", path.display()))?)
            .with_context(|| format!("`{}` is no readable ARPA file", path.display()))
    }

    fn read(file: impl Read) -> Result<Arpa> {
        let mut raw = BufReader::new(file);
        let start = raw.fill_buf()?;
        if start.starts_with(b"mmap lm http://kheafield.com/code") {
            bail!(
                "it is a binary KenLM file, whose layout depends on the program that wrote it: give the ARPA file from which it was built"
            );
        }
        if start.starts_with(&[0x1f, 0x8b]) { parse(BufReader::new(MultiGzDecoder::new(raw))) } else { parse(raw) }
    }

    /// Sum of log10 probabilities and number of words (each sentence end is one), for the words of `sentence` between `<s>` and `</s>`.
    fn score(&self, sentence: &str) -> (f64, u64) {
        let id = |word: &str| self.words.get(word).copied().unwrap_or(0);
        let mut context = vec![id("<s>")];
        let (mut sum, mut count) = (0.0, 0);
        for word in sentence.split_whitespace().chain(["</s>"]) {
            let word = id(word);
            sum += self.log_probability(&context, word);
            count += 1;
            context.push(word);
            if context.len() >= self.order {
                context.remove(0);
            }
        }
        (sum, count)
    }

    /// The longest n-gram that the model has counts, after the back-offs of the longer contexts.
    fn log_probability(&self, context: &[u32], word: u32) -> f64 {
        let mut backoff = 0.0;
        for start in 0..=context.len() {
            let context = &context[start..];
            let key = hash(context.iter().copied());
            if let Some(entry) = self.ngrams.get(&hash_next(key, word)) {
                return backoff + f64::from(entry.probability);
            }
            backoff += self.ngrams.get(&key).map_or(0.0, |entry| f64::from(entry.backoff));
        }
        backoff + f64::from(UNKNOWN)
    }

    /// 10 to the negative mean log10 probability of a word, each line being a sentence whose words stand between white space. `None` without words.
    pub fn perplexity(&self, text: &str) -> Option<f64> {
        let scores = text.lines().filter(|line| !line.trim().is_empty()).map(|line| self.score(line));
        let (sum, count) = scores.fold((0.0, 0), |all, line| (all.0 + line.0, all.1 + line.1));
        (count > 0).then(|| 10f64.powf(-sum / count as f64))
    }

    /// Length of the longest n-grams.
    pub fn order(&self) -> usize {
        self.order
    }
}

fn hash(ids: impl Iterator<Item = u32>) -> u64 {
    ids.fold(0, hash_next)
}

fn hash_next(hash: u64, id: u32) -> u64 {
    xxh3_64_with_seed(&id.to_le_bytes(), hash)
}

fn parse(reader: impl BufRead) -> Result<Arpa> {
    let mut model = Arpa { order: 0, words: HashMap::from([("<unk>".to_string(), 0)]), ngrams: HashMap::new() };
    // Numbers of n-grams that the header promises, and the length that is being read; 0 is the header.
    let (mut promised, mut n, mut begun, mut ended) = (Vec::new(), 0, false, false);
    let mut found = Vec::new();
    for (number, line) in reader.split(b'\n').enumerate() {
        let line = line.context("reading")?;
        let line = std::str::from_utf8(&line).with_context(|| format!("line {} is not UTF-8", number + 1))?.trim();
        let broken = || format!("line {}: `{}`", number + 1, line.chars().take(80).collect::<String>());
        if line.is_empty() || ended || !begun && line != "\\data\\" {
            continue;
        }
        if line == "\\data\\" {
            begun = true;
        } else if line == "\\end\\" {
            ended = true;
        } else if let Some(length) = line.strip_prefix('\\').and_then(|line| line.strip_suffix("-grams:")) {
            n = length.parse().with_context(broken)?;
            if n != found.len() + 1 || n > promised.len() {
                bail!("{}: the sections must go from 1-grams to {}-grams", broken(), promised.len());
            }
            found.push(0);
        } else if n == 0 {
            let (_, count) = line.split_once('=').with_context(broken)?;
            promised.push(count.trim().parse::<u64>().with_context(broken)?);
        } else {
            model.add(n, line).with_context(broken)?;
            found[n - 1] += 1;
        }
    }
    if !ended || promised.is_empty() || found != promised {
        bail!(
            "it is cut off or miscounted: the header promises {promised:?} n-grams, found {found:?}{}",
            if ended { "" } else { " and no \\end\\" }
        );
    }
    model.order = promised.len();
    Ok(model)
}

impl Arpa {
    /// A line `probability word… [backoff]`.
    fn add(&mut self, n: usize, line: &str) -> Result<()> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.len() != n + 1 && fields.len() != n + 2 {
            bail!("a {n}-gram has {} or {} fields, not {}", n + 1, n + 2, fields.len());
        }
        let probability = fields[0].parse()?;
        let backoff = fields.get(n + 1).map_or(Ok(0.0), |field| field.parse())?;
        let mut key = 0;
        for word in &fields[1..=n] {
            let id = match self.words.get(*word) {
                Some(id) => *id,
                None if n == 1 => {
                    let id = self.words.len() as u32;
                    self.words.insert(word.to_string(), id);
                    id
                }
                None => bail!("`{word}` is among the {n}-grams, but not among the 1-grams"),
            };
            key = hash_next(key, id);
        }
        self.ngrams.insert(key, Entry { probability, backoff });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MODEL: &str = "made by hand\n\n\\data\\\nngram 1=5\nngram 2=3\n\n\\1-grams:\n-2.0\t<unk>\t0\n-99\t<s>\t-0.5\n-0.8\t</s>\n-0.6\tthe\t-0.3\n\
        -0.9\tcat\t-0.2\n\n\\2-grams:\n-0.2\t<s> the\n-0.3\tthe cat\n-0.1\tcat </s>\n\n\\end\\\n";

    fn model(text: &str) -> Result<Arpa> {
        Arpa::read(text.as_bytes())
    }

    #[test]
    fn backs_off_to_shorter_ngrams() {
        let model = model(MODEL).unwrap();
        assert_eq!(model.order(), 2);
        let check = |text: &str, logs: &[f64]| {
            let expected = 10f64.powf(-logs.iter().sum::<f64>() / logs.len() as f64);
            let found = model.perplexity(text).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-6, "{text}: {found}, not {expected}");
        };
        check("the cat", &[-0.2, -0.3, -0.1]);
        // `cat the`: the back-off of `<s>` and the 1-gram, the back-off of `cat`, the back-off of `the`.
        check("cat the", &[-0.5 - 0.9, -0.2 - 0.6, -0.3 - 0.8]);
        check("the dog", &[-0.2, -0.3 - 2.0, -0.8]);
        check("the cat\n\n the  cat \n", &[-0.2, -0.3, -0.1, -0.2, -0.3, -0.1]);
        assert_eq!(model.perplexity(" \n"), None);
    }

    #[test]
    fn reads_gz() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(MODEL.as_bytes()).unwrap();
        assert!(Arpa::read(gz.finish().unwrap().as_slice()).unwrap().perplexity("the cat").is_some());
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let message = format!("{:#}", model(text).err().unwrap());
            assert!(message.contains(expected), "{message}");
        };
        check("", "it is cut off or miscounted");
        check("mmap lm http://kheafield.com/code format version 5\n\0", "it is a binary KenLM file");
        check(&MODEL[..MODEL.len() - 6], "and no \\end\\");
        check(&MODEL.replace("ngram 2=3", "ngram 2=4"), "the header promises [5, 4] n-grams, found [5, 3]");
        check(
            &MODEL.replace("-0.3\tthe cat", "-0.3\tthe dog"),
            "line 16: `-0.3\tthe dog`: `dog` is among the 2-grams, but not among the 1-grams",
        );
        check(&MODEL.replace("-0.3\tthe cat", "x\tthe cat"), "line 16");
        check(&MODEL.replace("\\2-grams:", "\\3-grams:"), "the sections must go from 1-grams to 2-grams");
    }
}
