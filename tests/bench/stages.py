#!/usr/bin/env python3
"""Measures the stages of stages.toml on one corpus: every round runs them in a fresh workspace, then the peers rensa and trafilatura;
medians are printed as Markdown. Measure on an idle machine.

usage: stages.py --mill MILL --corpus en100.jsonl --html FOLDER [--peers VENV] [--rounds N] [--threads N] [--memory SIZE] [--work FOLDER]

FOLDER holds *.html files, such as those of Debian's package rust-doc; the first 600 in order of their paths' hashes are taken.
"""
import argparse
import hashlib
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

from run import HERE, output

CONFIG = "stages.toml"
PAGES = 600


def items(corpus, path):
    """10 000 evaluation items of 15 to 100 words: every other one is a passage of the corpus, the rest are its words at random."""
    draw = random.Random(7)
    with open(corpus, encoding="utf-8", newline="\n") as lines:
        texts = [text.split() for text in draw.sample([json.loads(line)["text"] for line in lines], 30000)]
    texts = [words for words in texts if len(words) >= 100]
    words = [word for text in texts[:2000] for word in text]
    with open(path, "w", encoding="utf-8") as out:
        for number in range(10000):
            length, text = draw.choice([15, 30, 60, 100]), draw.choice(texts)
            start = draw.randrange(len(text) - length + 1)
            passage = draw.choices(words, k=length) if number % 2 else text[start : start + length]
            out.write(json.dumps({"question": " ".join(passage[:-5]), "answer": " ".join(passage[-5:])}) + "\n")


def pages(folder, out):
    """The same pages as peer_trafilatura.py takes."""
    paths = sorted(folder.rglob("*.html"), key=lambda path: hashlib.md5(str(path).encode()).digest())[:PAGES]
    shutil.rmtree(out, ignore_errors=True)
    for path in paths:
        copy = out / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def ours(arguments, work):
    """One run from nothing: {step: (wall seconds, processor seconds)}, and the peak memory in MB."""
    shutil.rmtree(work / "runs", ignore_errors=True)
    command = [arguments.mill, "run", CONFIG, "--threads", str(arguments.threads), "--memory", arguments.memory]
    subprocess.run([sys.executable, HERE / "memory.py", "--json", "memory.json", *command], cwd=work, check=True)
    sql = "select step, wall_seconds, cpu_seconds from steps"
    rows = json.loads(output([arguments.mill, "sql", CONFIG, "--format", "json", "-c", sql], cwd=work))
    peak = json.loads((work / "memory.json").read_text())["peak_mb"]
    return {row["step"]: (row["wall_seconds"], row["cpu_seconds"]) for row in rows}, peak


def size(arguments, work, table):
    sql = f"select count(*) as documents, sum(octet_length(text)) as bytes from {table}"
    return json.loads(output([arguments.mill, "sql", CONFIG, "--format", "json", "-c", sql], cwd=work))[0]


def report(runs, peaks, texts, page_bytes, peers):
    print("| step | s | processor s | MB/s |\n|---|---:|---:|---:|")
    middle = lambda step, which: statistics.median(run[step][which] for run in runs)
    for step in runs[0]:
        size = page_bytes if step == "pages" else texts["bytes"]
        print(f"| {step} | {middle(step, 0):.2f} | {middle(step, 1):.2f} | {size / 1e6 / middle(step, 0):.1f} |")
    both = middle("import", 0) + middle("exact", 0)
    print(f"\nimport + exact: {texts['bytes'] / 1e6 / both:.1f} MB/s")
    for step in ("ngrams", "fuzzy"):
        print(f"{step}: {middle(step, 1) / texts['documents'] * 1e6:.1f} µs of processor time a document")
    print(f"pages: {page_bytes / 1e6 / middle('pages', 1):.1f} MB/s of one processor")
    print(f"peak resident memory of the process tree: {max(peaks):.0f} MB")
    for peer in peers:
        print(peer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mill", type=pathlib.Path, required=True)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--html", type=pathlib.Path, required=True)
    parser.add_argument("--peers", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--work", type=pathlib.Path, help="folder for everything that is written (default: a temporary one)")
    arguments = parser.parse_args()
    arguments.mill = arguments.mill.absolute()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or pathlib.Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / CONFIG, work / CONFIG)
        (work / "corpus.jsonl").unlink(missing_ok=True)
        (work / "corpus.jsonl").symlink_to(arguments.corpus.absolute())
        items(arguments.corpus, work / "items.jsonl")
        pages(arguments.html.absolute(), work / "html")
        page_bytes = sum(path.stat().st_size for path in (work / "html").rglob("*.html"))
        runs, peaks, peers = [], [], []
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            steps, peak = ours(arguments, work)
            runs.append(steps)
            peaks.append(peak)
            if arguments.peers:
                for script, argument in (("peer_rensa.py", arguments.corpus), ("peer_trafilatura.py", work / "html")):
                    found = output([arguments.peers / "bin/python", HERE / script, argument], stderr=subprocess.DEVNULL)
                    peers.append(found.strip().splitlines()[-1])
        report(runs, peaks, size(arguments, work, "import"), page_bytes, peers)


if __name__ == "__main__":
    main()
