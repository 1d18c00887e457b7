#!/usr/bin/env python3
"""Times sacrebleu's corpus BLEU and scikit-learn's F1 on the very predictions that `cargo run --release -p score --example speed` makes up,
held in memory, imports left out: seconds, the best of some rounds.

usage: peer_score.py [ROWS]
"""
import sys
import time

import numpy
import sacrebleu
from sklearn.metrics import f1_score


def draw(row, what, bound):
    """As in the example: a number below `bound` that hangs on the row and what it is for."""
    with numpy.errstate(over="ignore"):
        x = (row * numpy.uint64(31) + numpy.asarray(what, dtype=numpy.uint64)) * numpy.uint64(0x9E3779B97F4A7C15)
        x ^= x >> numpy.uint64(32)
        x *= numpy.uint64(0xD6E8FEB86659FD93)
    return (x >> numpy.uint64(32)) % numpy.uint64(bound)


def best(what, times, rows, run):
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        value = run()
        seconds.append(time.perf_counter() - start)
    print(f"{what}: {rows} rows, {min(seconds):.3f} s, score {value}")


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    row = numpy.arange(rows, dtype=numpy.uint64)
    gold = draw(row, 1, 5)
    predicted = numpy.where(draw(row, 9, 10) < 7, gold, draw(row, 2, 5))
    for name, of in [("numbers", lambda labels: labels.astype("int64")), ("texts", lambda labels: numpy.array([f"class {label}" for label in labels]))]:
        y, p = of(gold), of(predicted)
        best(f"scikit-learn macro F1 of {name}", 3, rows, lambda: f1_score(y, p, average="macro"))

    row = row[:rows // 10, None]
    words = numpy.arange(20, dtype=numpy.uint64)
    reference = draw(row, 100 + words, 60)
    kept = draw(row, 300 + words, 5) != 0
    text = lambda numbers, kept: " ".join(f"w{number}" if keep else "x" for number, keep in zip(numbers, kept))
    references = [text(numbers, [True] * 20) for numbers in reference]
    hypotheses = [text(numbers, keep) for numbers, keep in zip(reference, kept)]
    best("sacrebleu", 2, rows // 10, lambda: sacrebleu.corpus_bleu(hypotheses, [references]).score)


main()
