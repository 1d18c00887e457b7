#!/usr/bin/env python3
"""Measures en100.toml beside its peers: every round runs `mill` in a fresh workspace, then datatrove, then tokenizers; the medians,
MB/s and ratios are printed as a Markdown table. Measure on an idle machine.

usage: run.py --mill MILL [--corpus en100.jsonl] [--peers VENV] [--rounds N] [--threads N] [--memory SIZE] [--work FOLDER]

Without --corpus it is built first (corpus.py). Without --peers, a virtual environment with datatrove and tokenizers, only `mill` runs.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CONFIG = "en100.toml"


def output(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8", **options).stdout


def query(mill, work, sql):
    return json.loads(output([mill, "sql", CONFIG, "--format", "json", "-c", sql], cwd=work))


def ours(arguments, work):
    """One run from nothing. Returns {step: (seconds, bytes of text that enter it)} and the peak memory in MB."""
    shutil.rmtree(work / "runs", ignore_errors=True)
    command = [arguments.mill, "run", CONFIG, "--threads", str(arguments.threads), "--memory", arguments.memory]
    subprocess.run([sys.executable, HERE / "memory.py", "--json", "memory.json", *command], cwd=work, check=True)
    seconds = {row["step"]: row["wall_seconds"] for row in query(arguments.mill, work, "select step, wall_seconds from steps")}
    text = {}
    previous = "import"
    for step in ("clean", "filter", "dedup", "split"):
        (row,) = query(arguments.mill, work, f"select sum(octet_length(text)) as bytes from {previous}")
        text[step], previous = row["bytes"], step
    text["import"] = text["clean"]
    (row,) = query(arguments.mill, work, "select sum(octet_length(text)) as bytes from split where split = 'train'")
    text["learn_tokenizer"], text["tokenize"] = row["bytes"], text["split"]
    peak = json.loads((work / "memory.json").read_text())["peak_mb"]
    return {step: (seconds[step], text[step]) for step in seconds if step in text}, peak


def peers(arguments, work, figures):
    """One run of each peer: filters and MinHash on the corpus, tokenizers on the very documents that `mill` tokenized."""
    python = arguments.peers / "bin/python"
    last = lambda text: json.loads(text.strip().splitlines()[-1])
    datatrove = [python, HERE / "peer_datatrove.py", arguments.corpus, work / "datatrove", str(arguments.threads)]
    found = last(output(datatrove, stderr=subprocess.DEVNULL))
    figures.setdefault("filters", []).append((found["filters_seconds"], found["filters_bytes"]))
    figures.setdefault("minhash", []).append((found["minhash_seconds"], found["minhash_bytes"]))
    kept = work / "kept.jsonl"
    export = [arguments.mill, "sql", CONFIG, "--format", "ndjson", "-c", "select text, split from split"]
    kept.write_text(output(export, cwd=work), encoding="utf-8")
    environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
    found = last(output([python, HERE / "peer_tokenizers.py", kept], env=environment))
    figures.setdefault("learn", []).append((found["bpe_learn_seconds"], found["learn_bytes"]))
    figures.setdefault("encode", []).append((found["bpe_encode_seconds"], found["encode_bytes"]))


def median(runs):
    """Median seconds and MB/s of [(seconds, bytes)]."""
    seconds = statistics.median(s for s, _ in runs)
    return seconds, runs[0][1] / 1e6 / seconds


def total(runs, steps):
    """Several steps as one: seconds add up, the bytes are those that enter the first."""
    return [(sum(run[step][0] for step in steps), run[steps[0]][1]) for run in runs]


def report(runs, peaks, figures):
    print("| stage | s | MB/s |\n|---|---:|---:|")
    for step in runs[0]:
        seconds, speed = median([run[step] for run in runs])
        print(f"| {step} | {seconds:.2f} | {speed:.1f} |")
    print(f"\npeak resident memory of the process tree: {max(peaks):.0f} MB")
    pairs = [
        ("import, clean, filter", ["import", "clean", "filter"], "datatrove: read, Gopher filters, write", "filters"),
        ("dedup", ["dedup"], "datatrove: MinHash in four steps", "minhash"),
        ("learn_tokenizer", ["learn_tokenizer"], "tokenizers: BPE", "learn"),
        ("tokenize", ["tokenize"], "tokenizers: encode_batch_fast", "encode"),
    ]
    if figures:
        print("\n| ours | s | MB/s | peer | s | MB/s | ratio of MB/s |\n|---|---:|---:|---|---:|---:|---:|")
        for name, steps, peer, figure in pairs:
            seconds, speed = median(total(runs, steps))
            peer_seconds, peer_speed = median(figures[figure])
            print(f"| {name} | {seconds:.2f} | {speed:.1f} | {peer} | {peer_seconds:.2f} | {peer_speed:.1f} | {speed / peer_speed:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mill", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path)
    parser.add_argument("--peers", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--memory", default="512MB")
    parser.add_argument("--work", type=pathlib.Path, help="folder for everything that is written (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or pathlib.Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        arguments.mill = arguments.mill.absolute()
        if arguments.corpus is None:
            arguments.corpus = work / "en100.jsonl"
            if not arguments.corpus.exists():
                subprocess.run([sys.executable, HERE / "corpus.py", work], check=True)
        arguments.corpus = arguments.corpus.absolute()
        shutil.copy(HERE / CONFIG, work / CONFIG)
        (work / "corpus.jsonl").unlink(missing_ok=True)
        (work / "corpus.jsonl").symlink_to(arguments.corpus)
        runs, peaks, figures = [], [], {}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            steps, peak = ours(arguments, work)
            runs.append(steps)
            peaks.append(peak)
            if arguments.peers:
                peers(arguments, work, figures)
        report(runs, peaks, figures)


if __name__ == "__main__":
    main()
