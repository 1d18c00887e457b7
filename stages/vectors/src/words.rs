//! From documents to numbers of words, on disk: each file of documents is cut into words once, the vocabulary is merged from what the
//! files counted, and the words are numbered by it. Neither the corpus nor the rare words are ever in memory together.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use engine::{Context, Draft, Part, Table};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::vocabulary::Vocabulary;

/// Ends a sentence in files of numbers.
pub(crate) const END: u32 = u32::MAX;
/// Documents are read so many at a time.
const BATCH_ROWS: usize = 256;
/// The split of documents that were not split.
const TRAIN: &str = "train";

/// What a word is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Splitter {
    /// Unicode words with a letter or digit; each Han character is one.
    #[default]
    Unicode,
    /// What stands between white space, for texts that were cut into words before.
    Whitespace,
}

/// What windows do not reach across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// The whole document.
    #[default]
    Document,
    /// A line.
    Line,
    /// A sentence.
    Sentence,
}

/// Which words of which documents are learned: settings that `word2vec` and `glove` share.
pub(crate) struct Words<'a> {
    pub(crate) text: &'a str,
    pub(crate) split: &'a str,
    pub(crate) words: Splitter,
    pub(crate) lowercase: bool,
    pub(crate) within: Within,
    pub(crate) min_count: u64,
    pub(crate) vocabulary_max: Option<usize>,
}

/// The corpus as numbers of words.
pub(crate) struct Corpus {
    pub(crate) vocabulary: Vocabulary,
    /// Files of numbers, sentences ended by [`END`], in the order of the documents.
    pub(crate) files: Vec<PathBuf>,
}

impl Words<'_> {
    /// Refuses settings that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        if self.min_count == 0 || self.vocabulary_max.is_some_and(|most| most < 2) {
            bail!("`min_count` must be above 0 and `vocabulary_max` above 1");
        }
        Ok(())
    }

    /// Counts and numbers the words of all documents; what an earlier run finished is not done again.
    pub(crate) fn corpus(&self, ctx: &Context, table: &Table, draft: &Draft) -> Result<Corpus> {
        table.column(self.text)?;
        let files: Vec<usize> =
            (0..table.files.len()).filter(|file| table.files[*file].split.as_deref().is_none_or(|split| split == self.split)).collect();
        let plan: Vec<Part> = files.iter().map(|file| Part { bytes: table.files[*file].bytes }).collect();
        draft.task(ctx, "words", &plan, |index, path| self.cut(ctx, table, files[index], path))?;
        let counted = |index: usize| draft.scratch_path("words", index);
        draft.task(ctx, "vocabulary", &[Part { bytes: 1 }], |_, path| self.merge((0..files.len()).map(counted).collect(), path))?;
        let vocabulary = Vocabulary::read(&draft.scratch_path("vocabulary", 0))?;
        let numbers: HashMap<&[u8], u32> = vocabulary.words().zip(0..).map(|(word, number)| (word.as_bytes(), number)).collect();
        draft.task(ctx, "numbers", &plan, |index, path| number(ctx, &counted(index), &numbers, path))?;
        for path in (0..files.len()).map(counted).filter(|path| path.exists()) {
            std::fs::remove_file(&path).with_context(|| format!("removing `{}`", path.display()))?;
        }
        drop(numbers);
        Ok(Corpus { vocabulary, files: (0..files.len()).map(|index| draft.scratch_path("numbers", index)).collect() })
    }

    /// Cuts one file of documents: numbers within the file, then the words in order of bytes with their counts.
    fn cut(&self, ctx: &Context, table: &Table, file: usize, path: &Path) -> Result<()> {
        let mut counted = Counted { words: HashMap::new(), counts: Vec::new(), lower: String::new() };
        let mut out = BufWriter::new(File::create(path).with_context(|| format!("creating `{}`", path.display()))?);
        let split = table.has_column("split").then_some("split");
        let columns: Vec<&str> = [self.text].into_iter().chain(split).collect();
        for batch in table.read(file, Some(&columns), BATCH_ROWS)? {
            ctx.check_stop()?;
            let batch = batch?;
            let column = |name: &str| -> Result<arrow::array::StringArray> {
                let column = batch.column_by_name(name).with_context(|| format!("the documents have no column `{name}`"))?;
                Ok(cast(column, &DataType::Utf8).with_context(|| format!("column `{name}` cannot be read as text"))?.as_string().clone())
            };
            let (texts, splits) = (column(self.text)?, split.map(column).transpose()?);
            let taken = |row: &usize| match &splits {
                Some(splits) if splits.is_valid(*row) => splits.value(*row) == self.split,
                _ => table.files[file].split.as_deref().unwrap_or(TRAIN) == self.split,
            };
            for row in (0..batch.num_rows()).filter(taken).filter(|row| texts.is_valid(*row)) {
                self.sentences(texts.value(row), |sentence| self.sentence(sentence, &mut counted, &mut out))?;
            }
        }
        counted.finish(&mut out).and_then(|()| Ok(out.flush()?)).with_context(|| format!("writing `{}`", path.display()))
    }

    fn sentences<'t>(&self, text: &'t str, mut visit: impl FnMut(&'t str) -> Result<()>) -> Result<()> {
        match self.within {
            Within::Document => visit(text),
            Within::Line => text.lines().try_for_each(visit),
            Within::Sentence => text::sentences(text).try_for_each(visit),
        }
    }

    fn sentence(&self, sentence: &str, counted: &mut Counted, out: &mut impl Write) -> Result<()> {
        let mut some = false;
        let mut push = |word: &str| -> Result<()> {
            some = true;
            Ok(out.write_all(&counted.number(word, self.lowercase)?.to_le_bytes())?)
        };
        match self.words {
            Splitter::Unicode => text::words(sentence).try_for_each(&mut push)?,
            Splitter::Whitespace => sentence.split_whitespace().try_for_each(&mut push)?,
        }
        if some {
            out.write_all(&END.to_le_bytes())?;
        }
        Ok(())
    }

    /// Merges the counts of all files; only words that occur often enough are held in memory.
    fn merge(&self, files: Vec<PathBuf>, path: &Path) -> Result<()> {
        let mut lists = files.iter().map(|file| List::open(file)).collect::<Result<Vec<List>>>()?;
        let mut heap = BinaryHeap::new();
        let mut next = |heap: &mut BinaryHeap<_>, list: usize| -> Result<()> {
            if let Some((word, count, _)) = lists[list].next()? {
                heap.push(Reverse((word, list, count)));
            }
            Ok(())
        };
        (0..files.len()).try_for_each(|list| next(&mut heap, list))?;
        let mut kept: Vec<(String, u64)> = Vec::new();
        let (mut all, mut distinct) = (0, 0u64);
        while let Some(Reverse((word, list, mut count))) = heap.pop() {
            next(&mut heap, list)?;
            while heap.peek().is_some_and(|Reverse((other, ..))| *other == word) {
                let Some(Reverse((_, list, more))) = heap.pop() else { break };
                count += more;
                next(&mut heap, list)?;
            }
            all += count;
            distinct += 1;
            if count >= self.min_count {
                kept.push((String::from_utf8(word).context("a word is no text")?, count));
            }
        }
        kept.sort_by(|(word, count), (other, more)| (Reverse(count), word).cmp(&(Reverse(more), other)));
        kept.truncate(self.vocabulary_max.unwrap_or(usize::MAX));
        if all == 0 {
            bail!("the split `{}` has no words in the column `{}`", self.split, self.text);
        }
        if kept.len() < 2 {
            bail!("of {distinct} different words, {} occur {} times (`min_count`) or more; at least 2 must", kept.len(), self.min_count);
        }
        Vocabulary::write(path, &kept, all, distinct)
    }
}

/// The words of one file.
struct Counted {
    words: HashMap<String, u32>,
    counts: Vec<u64>,
    lower: String,
}

impl Counted {
    fn number(&mut self, word: &str, lowercase: bool) -> Result<u32> {
        let word = if !lowercase {
            word
        } else if word.is_ascii() {
            self.lower.clear();
            self.lower.push_str(word);
            self.lower.make_ascii_lowercase();
            &self.lower
        } else {
            self.lower = word.to_lowercase();
            &self.lower
        };
        let number = match self.words.get(word) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.counts.len()).ok().filter(|number| *number < END).context("too many different words")?;
                self.words.insert(word.to_string(), number);
                self.counts.push(0);
                number
            }
        };
        self.counts[number as usize] += 1;
        Ok(number)
    }

    /// Writes the words behind the numbers: count, number, length and bytes of each; at the end, where the words begin.
    fn finish(self, out: &mut BufWriter<File>) -> Result<()> {
        let start = out.stream_position()?;
        let mut words: Vec<(String, u32)> = self.words.into_iter().collect();
        words.sort_unstable();
        for (word, number) in &words {
            out.write_all(&self.counts[*number as usize].to_le_bytes())?;
            out.write_all(&number.to_le_bytes())?;
            out.write_all(&(word.len() as u32).to_le_bytes())?;
            out.write_all(word.as_bytes())?;
        }
        out.write_all(&(words.len() as u64).to_le_bytes())?;
        Ok(out.write_all(&start.to_le_bytes())?)
    }
}

/// The list of words behind the numbers of a file.
struct List {
    file: BufReader<File>,
    left: u64,
    distinct: u64,
    /// Where it begins: the bytes of the numbers.
    start: u64,
}

impl List {
    fn open(path: &Path) -> Result<List> {
        let open = || -> Result<List> {
            let mut file = BufReader::new(File::open(path)?);
            file.seek(SeekFrom::End(-16))?;
            let distinct = u64::from_le_bytes(bytes(&mut file)?);
            let start = u64::from_le_bytes(bytes(&mut file)?);
            file.seek(SeekFrom::Start(start))?;
            Ok(List { file, left: distinct, distinct, start })
        };
        open().with_context(|| format!("reading `{}`", path.display()))
    }

    /// The next word with its count and its number within the file.
    fn next(&mut self) -> Result<Option<(Vec<u8>, u64, u32)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let count = u64::from_le_bytes(bytes(&mut self.file)?);
        let number = u32::from_le_bytes(bytes(&mut self.file)?);
        let mut word = vec![0; u32::from_le_bytes(bytes(&mut self.file)?) as usize];
        self.file.read_exact(&mut word)?;
        Ok(Some((word, count, number)))
    }
}

pub(crate) fn bytes<const N: usize>(file: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes the numbers of a file anew, by the vocabulary; words that it does not have are left out, as before windows are laid.
fn number(ctx: &Context, from: &Path, numbers: &HashMap<&[u8], u32>, to: &Path) -> Result<()> {
    let mut list = List::open(from)?;
    let mut map = vec![END; list.distinct as usize];
    while let Some((word, _, number)) = list.next()? {
        if let Some(known) = numbers.get(word.as_slice()) {
            map[number as usize] = *known;
        }
    }
    let reading = || format!("reading `{}`", from.display());
    let mut file = BufReader::new(File::open(from).with_context(reading)?);
    let mut out = BufWriter::new(File::create(to).with_context(|| format!("creating `{}`", to.display()))?);
    let mut open = false;
    for n in 0..list.start / 4 {
        if n % (1 << 20) == 0 {
            ctx.check_stop()?;
        }
        let number = u32::from_le_bytes(bytes(&mut file).with_context(reading)?);
        let known = if number == END { END } else { map[number as usize] };
        if known != END || (number == END && open) {
            out.write_all(&known.to_le_bytes()).with_context(|| format!("writing `{}`", to.display()))?;
            open = number != END;
        }
    }
    out.flush().with_context(|| format!("writing `{}`", to.display()))
}
