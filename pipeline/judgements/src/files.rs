//! Files of word pairs and of analogies.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Two words and how similar people find them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub words: [String; 2],
    pub gold: f64,
}

/// `a` is to `b` as `c` is to `expected`.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub section: String,
    pub given: [String; 3],
    pub expected: String,
}

fn lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
    Ok((1..).zip(text.lines()).map(|(n, line)| (n, line.trim().to_string())).filter(|(_, line)| !line.is_empty()).collect())
}

/// Reads word pairs.
pub fn pairs(path: &Path) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut header_allowed = true;
    for (n, line) in lines(path)?.into_iter().filter(|(_, line)| !line.starts_with('#')) {
        let fields: Vec<&str> = match ['\t', ','].into_iter().find(|mark| line.contains(*mark)) {
            Some(mark) => line.split(mark).map(str::trim).collect(),
            None => line.split_whitespace().collect(),
        };
        let pair = match fields.as_slice() {
            [a, b, number] => {
                number.parse().ok().filter(|gold: &f64| gold.is_finite()).map(|gold| Pair { words: [a.to_string(), b.to_string()], gold })
            }
            _ => None,
        };
        match pair {
            Some(pair) => pairs.push(pair),
            // The names of columns.
            None if header_allowed && fields.len() == 3 => {}
            None => bail!("`{}`, line {n}: `{line}` is not two words and a number, between tabs, commas or spaces", path.display()),
        }
        header_allowed = false;
    }
    if pairs.is_empty() {
        bail!("`{}` holds no pair of words", path.display());
    }
    Ok(pairs)
}

/// Reads analogies.
pub fn questions(path: &Path) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    let mut section = String::new();
    for (n, line) in lines(path)? {
        if let Some(name) = line.strip_prefix(':') {
            section = name.trim().to_string();
            continue;
        }
        let mut words = line.split_whitespace().map(str::to_string);
        match (words.next(), words.next(), words.next(), words.next(), words.next()) {
            (Some(a), Some(b), Some(c), Some(expected), None) => {
                questions.push(Question { section: section.clone(), given: [a, b, c], expected });
            }
            _ => bail!("`{}`, line {n}: `{line}` is not four words, or a section `: NAME`", path.display()),
        }
    }
    if questions.is_empty() {
        bail!("`{}` holds no analogy", path.display());
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn pairs_may_have_a_header_and_any_usual_separator() {
        let pair = |a: &str, b: &str, gold| Pair { words: [a.into(), b.into()], gold };
        for text in [
            "# note\nWord 1\tWord 2\tHuman\nlove\tsex\t6.77\ntiger\tcat\t7\n",
            "a,b,mean\nlove,sex,6.77\ntiger,cat,7",
            "love sex 6.77\r\n\ntiger cat 7.0",
        ] {
            assert_eq!(pairs(file(text).path()).unwrap(), [pair("love", "sex", 6.77), pair("tiger", "cat", 7.0)]);
        }
    }

    #[test]
    fn broken_lines_are_named() {
        let fails = |text: &str, expected: &str| {
            let message = format!("{:#}", pairs(file(text).path()).unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        fails("a b 1\na b c\n", "line 2: `a b c` is not two words and a number");
        fails("old\tnew\tA\t1.58\n", "line 1");
        fails("a b NaN\nx y nan", "line 2");
        fails("# nothing", "holds no pair");
        let message = format!("{:#}", questions(file(": s\na b c d\na b c\n").path()).unwrap_err());
        assert!(message.contains("line 3: `a b c` is not four words"), "{message}");
    }

    #[test]
    fn analogies_have_sections() {
        let found = questions(file(": capitals\nAthens Greece Oslo Norway\n: plural\ncat cats dog dogs\n").path()).unwrap();
        assert_eq!(
            found.iter().map(|q| (q.section.as_str(), q.expected.as_str())).collect::<Vec<_>>(),
            [("capitals", "Norway"), ("plural", "dogs")]
        );
    }
}
