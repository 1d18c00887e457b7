#!/usr/bin/env python3
"""Compares what gopher@datatrove keeps with what datatrove's GopherRepetitionFilter and GopherQualityFilter keep (default parameters), on every
STEP-th document of a corpus. Prints Markdown: the sets, each signal, and every document that only one of them keeps.

usage: agree_datatrove.py --mill MILL --corpus en100.jsonl [--step 10] [--work FOLDER]

Runs in the environment of the peers (README.md). Values of datatrove are computed with its own functions on its own tokens; a signal that does not
depend on words must agree exactly.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import tempfile

from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters import gopher_repetition_filter as repetition
from datatrove.utils.text import PUNCTUATION_SET, split_into_words

CONFIG = """[[step]]
stage = "import"
paths = ["sample.jsonl"]
[[step]]
stage = "clean"
profile = "gopher@datatrove"
signals = [{ name = "piece_count", sql = "gopher_datatrove(text)['piece_count']" }]
[[step]]
stage = "filter"
"""
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
WITHOUT_WORDS = ("duplicate_paragraph_ratio", "duplicate_paragraph_char_ratio", "duplicate_line_ratio", "duplicate_line_char_ratio",
                 "bullet_line_ratio", "ellipsis_line_ratio")


def signals(text):
    """datatrove's quantities, by its own functions where it has one."""
    paragraphs, lines = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    tokens = split_into_words(text)
    words = [token for token in tokens if any(c not in PUNCTUATION_SET for c in token)]
    values = {"piece_count": len(tokens), "word_count": len(words)}
    for name, segments in (("paragraph", paragraphs), ("line", lines)):
        count, characters = repetition.find_duplicates(segments)
        values[f"duplicate_{name}_ratio"], values[f"duplicate_{name}_char_ratio"] = count / len(segments), characters / len(text)
    for n in (2, 3, 4):
        ngrams = repetition.get_n_grams(tokens, n)
        values[f"top_{n}gram_char_ratio"] = repetition.find_top_duplicate(ngrams) / len(text) if ngrams else 0
    for n in range(5, 11):
        values[f"duplicate_{n}gram_char_ratio"] = repetition.find_all_duplicate(tokens, n) / len(text)
    split = text.splitlines()
    values["bullet_line_ratio"] = sum(line.lstrip().startswith(("•", "-")) for line in split) / len(split)
    values["ellipsis_line_ratio"] = sum(line.rstrip().endswith(("...", "…")) for line in split) / len(split)
    if words:
        values["mean_word_length"] = sum(map(len, words)) / len(words)
        values["hash_word_ratio"] = text.count("#") / len(tokens)
        values["ellipsis_word_ratio"] = (text.count("...") + text.count("…")) / len(tokens)
        values["alpha_word_ratio"] = sum(any(c.isalpha() for c in token) for token in tokens) / len(tokens)
    values["stop_word_count"] = len(STOP_WORDS.intersection(tokens))
    return values


def sample(corpus, step, work):
    with open(corpus, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for number, line in enumerate(lines) if number % step == 0]
    texts = [text for text in texts if text.strip()]
    with open(work / "sample.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return texts


def ours(mill, work):
    """By line number: our signals, and the rule for documents that are rejected."""
    (work / "agree.toml").write_text(CONFIG)
    subprocess.run([mill, "run", "agree.toml"], cwd=work, check=True, stderr=subprocess.DEVNULL)

    def query(sql):
        lines = subprocess.run([mill, "sql", "agree.toml", "--format", "ndjson", "-c", sql], cwd=work, check=True, stdout=subprocess.PIPE)
        return [json.loads(line) for line in lines.stdout.decode().splitlines()]

    columns = ", ".join(["line", *signals("the words of a text.")])
    values = {row["line"]: row for row in query(f"select {columns} from clean")}
    return values, {row["line"]: row["rule"] for row in query("select line, rule from filter.rejects")}


def theirs(texts):
    filters = [GopherRepetitionFilter(), GopherQualityFilter()]
    reasons = {}
    for line, text in enumerate(texts, 1):
        for filter in filters:
            result = filter.filter(Document(text=text, id=str(line)))
            if result is not True:
                reasons[line] = result[1]
                break
    return reasons


def report(texts, values, rejected, reasons):
    every = set(range(1, len(texts) + 1))
    kept, theirs_kept = every - set(rejected), every - set(reasons)
    print(f"{len(texts)} documents: ours keeps {len(kept)}, datatrove {len(theirs_kept)}, both {len(kept & theirs_kept)}, "
          f"only ours {len(kept - theirs_kept)}, only datatrove {len(theirs_kept - kept)}\n")
    differing = collections.defaultdict(list)
    tokens = 0
    for line, text in enumerate(texts, 1):
        reference = signals(text)
        tokens += reference["piece_count"]
        for name, value in reference.items():
            difference = abs(value - (values[line][name] or 0))
            if difference > 1e-9:
                differing[name].append(difference)
    print("| signal | documents that differ | median difference | largest |\n|---|---:|---:|---:|")
    for name in signals("the words of a text."):
        found = sorted(differing[name])
        assert not found or name not in WITHOUT_WORDS, f"`{name}` does not depend on words and yet differs"
        middle, largest = (found[len(found) // 2], found[-1]) if found else (0, 0)
        print(f"| {name} | {len(found)} | {middle:.2g} | {largest:.2g} |")
    ours_tokens = sum(row["piece_count"] for row in values.values())
    print(f"\ntokens: ours {ours_tokens}, datatrove {tokens}\n")
    print("| line | ours | datatrove |\n|---:|---|---|")
    for line in sorted(kept ^ theirs_kept):
        print(f"| {line} | {rejected.get(line, 'kept')} | {reasons.get(line, 'kept')} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mill", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--step", type=int, default=10, help="take every STEP-th document")
    parser.add_argument("--work", type=pathlib.Path, help="folder for everything that is written (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or pathlib.Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        texts = sample(arguments.corpus, arguments.step, work)
        values, rejected = ours(arguments.mill.absolute(), work)
        report(texts, values, rejected, theirs(texts))


if __name__ == "__main__":
    main()
