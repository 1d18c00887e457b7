#!/usr/bin/env python3
"""Compares the layouts `tag`, `answer` and `classify` (pairs) row by row with what transformers' usual recipes make of the same documents.

usage: interop_examples.py [--mill PATH] [--keep FOLDER]
The recipes: `word_ids()` for tags (run_ner.py), `return_overflowing_tokens`, `stride` and `return_offsets_mapping` for answers (run_qa.py),
`truncation="longest_first"` for pairs. Needs transformers (run with 5.24.0), zstdcat and the built program `mill`. Exit code 1 at the first difference.
"""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile

from transformers import AutoTokenizer

SAMPLES = pathlib.Path(__file__).resolve().parent.parent / "data-samples"
LENGTH, STRIDE = 96, 24
CONFIG = f"""
root = "."
[[step]]
stage = "import"
paths = ["documents.jsonl"]
columns = {{ kind = "string", words = "string", tags = "string", question = "string", answer = "string", start = "integer", second = "string" }}
[[step]]
stage = "learn-tokenizer"
kind = "wordpiece"
vocabulary_size = 4000
[[step]]
stage = "tokenize"
name = "tags_first"
layout = "tag"
model = "masked"
words = "words"
tags = "tags"
sequence_length = {LENGTH}
[[step]]
stage = "tokenize"
name = "tags_all"
layout = "tag"
model = "masked"
words = "words"
tags = "tags"
label_all = true
sequence_length = {LENGTH}
inputs = {{ documents = "import", tokenizer = "learn_tokenizer" }}
[[step]]
stage = "tokenize"
name = "answers"
layout = "answer"
model = "masked"
question = "question"
answer = "answer"
answer_start = "start"
stride = {STRIDE}
question_length = 30
sequence_length = {LENGTH}
inputs = {{ documents = "import", tokenizer = "learn_tokenizer" }}
[[step]]
stage = "tokenize"
name = "pairs"
layout = "classify"
model = "masked"
text_pair = "second"
label = "kind"
sequence_length = {LENGTH}
inputs = {{ documents = "import", tokenizer = "learn_tokenizer" }}
"""


def sample(name):
    text = subprocess.run(["zstdcat", SAMPLES / f"{name}.jsonl.zst"], stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def documents():
    """Sentences with tags; questions over speeches, Chinese help pages and poems, one in eight without an answer; pairs of any two texts."""
    draw = random.Random(4)
    found = [{"kind": "tag", **row} for row in sample("tags/hironsan")]
    texts = sample("text/speeches")[:400] + sample("text/tang-poems")[:300] + sample("text/help-zh")[:300]
    for number, row in enumerate(texts):
        text = row["text"]
        start = draw.randrange(max(1, len(text) - 30))
        answer = text[start:start + draw.randrange(2, 30)]
        start += len(answer) - len(answer.lstrip())
        answer = "" if number % 8 == 0 else answer.strip()
        other = draw.choice(texts)["text"]
        found.append({
            "kind": "answer", "text": text, "question": row["title"][:20], "answer": answer, "start": start,
            "second": other[:draw.randrange(len(other) + 1)] or "x",
        })
    return found


def rows(mill, folder, query):
    done = subprocess.run([mill, "sql", "x.toml", "--format", "json", "-c", query], cwd=folder, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def by_document(mill, folder, step):
    """Rows of a step by the position of their document."""
    found = {}
    for row in rows(mill, folder, f"select d.position, t.* from {step} t join import d on d.id = t.id"):
        found.setdefault(row["position"], []).append(row)
    return found


def same(what, position, found, expected):
    if found != expected:
        raise SystemExit(f"{what}: the document at {position} differs:\n{found}\n{expected}")


def tags(tokenizer, document, classes, label_all):
    """As run_ner.py aligns them: the tag at the first token of a word; with label_all, `I` at the others."""
    encoded = tokenizer(document["words"], is_split_into_words=True, truncation=True, max_length=LENGTH)
    labels, before = [], None
    for word in encoded.word_ids():
        if word is None:
            labels.append(-100)
        elif word != before:
            labels.append(classes.index(document["tags"][word]))
        else:
            labels.append(classes.index(document["tags"][word].replace("B-", "I-")) if label_all else -100)
        before = word
    return encoded["input_ids"], labels


def answers(tokenizer, document):
    """As run_qa.py finds them, by offsets."""
    encoded = tokenizer(
        document["question"], document["text"], truncation="only_second", max_length=LENGTH, stride=STRIDE,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )
    for n, offsets in enumerate(encoded["offset_mapping"]):
        sequence = encoded.sequence_ids(n)
        first = sequence.index(1)
        last = len(sequence) - 1 - sequence[::-1].index(1)
        begin, end = document["start"], document["start"] + len(document["answer"])
        has = bool(document["answer"]) and offsets[first][0] <= begin and offsets[last][1] >= end
        start_token = end_token = 0
        if has:
            start_token, end_token = first, last
            while start_token <= last and offsets[start_token][0] <= begin:
                start_token += 1
            while offsets[end_token][1] >= end:
                end_token -= 1
            start_token, end_token = start_token - 1, end_token + 1
        places = [offset if part == 1 else (-1, -1) for offset, part in zip(offsets, sequence)]
        yield encoded["input_ids"][n], encoded["token_type_ids"][n], has, start_token, end_token, [p[0] for p in places], [p[1] for p in places]


def check(mill, folder):
    lines = [json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in documents()]
    (folder / "documents.jsonl").write_bytes(b"".join(lines))
    (folder / "x.toml").write_text(CONFIG)
    subprocess.run([mill, "run", "x.toml", "--quiet"], cwd=folder, check=True)
    steps = folder / "runs/x/steps"
    tokenizer = AutoTokenizer.from_pretrained(steps / "learn_tokenizer")
    positions = [sum(map(len, lines[:n])) for n in range(len(lines))]
    given = dict(zip(positions, documents()))
    for step, label_all in [("tags_first", False), ("tags_all", True)]:
        classes = json.loads((steps / step / "manifest.json").read_text())["facts"]["classes"]
        found = by_document(mill, folder, step)
        for position, (row,) in found.items():
            same(step, position, (row["tokens"], row["labels"]), tags(tokenizer, given[position], classes, label_all))
        print(f"{step}: {len(found)} sentences equal")
    found = by_document(mill, folder, "answers")
    windows, inside = 0, 0
    for position, ours in found.items():
        expected = list(answers(tokenizer, given[position]))
        names = ["tokens", "segments", "has_answer", "start_token", "end_token", "starts", "ends"]
        same("answers", position, [tuple(row[name] for name in names) for row in sorted(ours, key=lambda row: row["start"])], expected)
        windows += len(ours)
        inside += sum(row["has_answer"] for row in ours)
    print(f"answers: {len(found)} questions, {windows} windows equal, {inside} with the answer")
    found = by_document(mill, folder, "pairs")
    for position, (row,) in found.items():
        document = given[position]
        encoded = tokenizer(document["text"], document["second"], truncation="longest_first", max_length=LENGTH)
        same("pairs", position, (row["tokens"], row["segments"]), (encoded["input_ids"], encoded["token_type_ids"]))
    print(f"pairs: {len(found)} pairs equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mill", type=pathlib.Path, default=pathlib.Path("target/release/mill"))
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the files (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        check(arguments.mill.absolute(), folder)


if __name__ == "__main__":
    main()
