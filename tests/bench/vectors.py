#!/usr/bin/env python3
"""Compares word vectors of `mill` with gensim's word2vec and with GloVe as the paper and its program have it (peer_glove.cpp): the same words,
the same settings, several seeds. Prints, for each method, scores as mean ± standard deviation over the seeds, their distance in standard
deviations, and the seconds that each took.

usage: vectors.py --mill MILL --corpus CORPUS.jsonl [--methods cbow,skip-gram,cbow-hs,skip-gram-hs,glove] [--words N] [--seeds N] [--threads N]
                  [--only ours|theirs] [--work FOLDER]

Needs gensim 4 (its files of word pairs and analogies are used) and, for glove, a C++ compiler. Figures of speed count only on an idle machine.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import gensim
from gensim.models import KeyedVectors, Word2Vec
from gensim.test.utils import datapath

HERE = pathlib.Path(__file__).resolve().parent
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
LINE = 1000  # words in a line; gensim cuts lines at 10 000
SIMILARITY = ["wordsim353.tsv", "simlex999.txt"]
ANALOGIES = "questions-words.txt"
COMMON = {"vector_size": 100, "min_count": 5, "window": 5}
GLOVE_WINDOW, GLOVE_EPOCHS = 10, 15


def words_file(corpus, most, work):
    """The first `most` words of a corpus as lines of words, for gensim and for `mill`."""
    count = 0
    with open(corpus, encoding="utf-8") as lines, open(work / "words.txt", "w") as text, open(work / "words.jsonl", "w") as jsonl:
        for line in lines:
            words = WORD.findall(json.loads(line)["text"].lower())
            for start in range(0, len(words), LINE):
                piece = " ".join(words[start:start + LINE])
                text.write(piece + "\n")
                jsonl.write(json.dumps({"text": piece}) + "\n")
            count += len(words)
            if count >= most:
                break
    return count


def settings(method):
    """Settings of the step for a method, and of gensim."""
    if method == "glove":
        return {"stage": "glove", **COMMON, "window": GLOVE_WINDOW, "epochs": GLOVE_EPOCHS, "files": ["text"]}, None
    skip, tree = method.startswith("skip-gram"), method.endswith("-hs")
    ours = {"stage": "word2vec", **COMMON, "architecture": "skip-gram" if skip else "cbow", "files": ["text"]}
    ours["objective"] = "hierarchical-softmax" if tree else "negative-sampling"
    return ours, {**COMMON, "sg": int(skip), "hs": int(tree), "negative": 0 if tree else 5, "epochs": 5}


def ours(arguments, work, method, seed):
    """Vectors of `mill`, and its own scores of them."""
    step, _ = settings(method)
    toml = lambda value: json.dumps(value)
    lines = [f"seed = {seed}", "[[step]]", 'stage = "import"', 'paths = ["words.jsonl"]', "[[step]]", 'name = "vectors"']
    lines += [f"{key} = {toml(value)}" for key, value in step.items()] + ['words = "whitespace"', "lowercase = false"]
    lines += ["[[step]]", 'name = "scores"', 'stage = "score-vectors"', f"similarity = {toml(SIMILARITY)}", f"analogies = {toml([ANALOGIES])}"]
    (work / "x.toml").write_text("\n".join(lines) + "\n")
    subprocess.run([arguments.mill, "run", "x.toml", "--quiet", "--threads", str(arguments.threads)], cwd=work, check=True)
    manifest = json.loads((work / "runs/x/steps/vectors/manifest.json").read_text())
    query = "select metric, class, value from scores where metric = 'analogy_accuracy' and class is null or metric = 'spearman'"
    rows = subprocess.run([arguments.mill, "sql", "x.toml", "--format", "json", "-c", query], cwd=work, check=True, stdout=subprocess.PIPE).stdout
    vectors = KeyedVectors.load_word2vec_format(str(work / "runs/x/steps/vectors/files/vectors.txt"))
    scores = evaluate(vectors)
    for row in json.loads(rows):
        name = (row["class"] or ANALOGIES).split(".")[0]
        assert abs(scores[name] - row["value"]) < 1e-4, (row, scores)
    return scores, manifest["usage"]["wall_seconds"]


def theirs(arguments, work, method, seed):
    if method == "glove":
        program = work / "peer_glove"
        if not program.exists():
            subprocess.run(["g++", "-O3", "-march=native", "-pthread", HERE / "peer_glove.cpp", "-o", program], check=True)
        command = [program, work / "words.txt", work / "glove.txt", seed, COMMON["vector_size"], GLOVE_WINDOW, GLOVE_EPOCHS, arguments.threads, COMMON["min_count"]]
        started = time.perf_counter()
        subprocess.run([str(word) for word in command], check=True)
        seconds = time.perf_counter() - started
        return evaluate(KeyedVectors.load_word2vec_format(str(work / "glove.txt"))), seconds
    started = time.perf_counter()
    # From a file the threads read by themselves, which is gensim's faster way.
    model = Word2Vec(corpus_file=str(work / "words.txt"), workers=arguments.threads, seed=seed, **settings(method)[1])
    return evaluate(model.wv), time.perf_counter() - started


def evaluate(vectors):
    """Spearman of each file of pairs, and the share of analogies that are right, as gensim computes them."""
    scores = {}
    for name in SIMILARITY:
        _, spearman, _ = vectors.evaluate_word_pairs(datapath(name))
        scores[name.split(".")[0]] = float(spearman[0])
    scores[ANALOGIES.split(".")[0]] = vectors.evaluate_word_analogies(datapath(ANALOGIES))[0]
    return scores


def show(runs):
    mean, sd = statistics.mean(runs), statistics.stdev(runs) if len(runs) > 1 else 0.0
    return mean, sd, f"{mean:.4f} ± {sd:.4f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mill", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--methods", default="cbow,skip-gram,cbow-hs,skip-gram-hs,glove")
    parser.add_argument("--words", type=int, default=4_000_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["ours", "theirs"])
    parser.add_argument("--work", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.mill = arguments.mill.resolve()
    work = arguments.work or pathlib.Path(tempfile.mkdtemp(prefix="vectors-"))
    work.mkdir(parents=True, exist_ok=True)
    for name in [*SIMILARITY, ANALOGIES]:
        shutil.copy(datapath(name), work / name)
    count = words_file(arguments.corpus, arguments.words, work)
    print(f"{count} words, gensim {gensim.__version__}, {arguments.threads} threads, {arguments.seeds} seeds", flush=True)
    for method in arguments.methods.split(","):
        found = {"ours": [], "theirs": []}
        for seed in range(1, arguments.seeds + 1):
            for name, run in [("ours", ours), ("theirs", theirs)]:
                if arguments.only in (None, name):
                    found[name].append(run(arguments, work, method, seed))
                    print(f"  {method} seed {seed} {name}: {found[name][-1]}", file=sys.stderr, flush=True)
        print(f"\n{method}: " + ", ".join(f"{name} {statistics.median(s for _, s in runs):.2f} s" for name, runs in found.items() if runs))
        for metric in [name.split(".")[0] for name in [*SIMILARITY, ANALOGIES]]:
            values = {name: show([scores[metric] for scores, _ in runs]) for name, runs in found.items() if runs}
            line = ", ".join(f"{name} {text}" for name, (_, _, text) in values.items())
            if len(values) == 2 and arguments.seeds > 1:
                (a, sa, _), (b, sb, _) = values["ours"], values["theirs"]
                line += f", distance {(a - b) / max(sa, sb, 1e-9):+.2f} sd"
            print(f"  {metric}: {line}", flush=True)


if __name__ == "__main__":
    main()
