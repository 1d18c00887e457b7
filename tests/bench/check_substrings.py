#!/usr/bin/env python3
"""Checks the table `spans` of dedup-substrings against a suffix array: every byte that a repeat of LENGTH bytes covers must be in a span, up to the
word boundaries to which spans are drawn in, and no other byte.

usage: check_substrings.py WORKSPACE LENGTH     a workspace with the steps `import` and `dedup_substrings`; about 60 bytes of memory a byte of text

Needs numpy, pyarrow and pydivsufsort.
"""
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydivsufsort import divsufsort, kasai

BOUNDARIES = b" \n.,;:()"


def rows(folder, columns):
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=columns)
        yield from zip(*(table[name].to_pylist() for name in columns))


def repeats(text, starts, length):
    """Which bytes lie in a stretch of `length` bytes that occurs before, in another document or without overlap in the same."""
    n = len(text)
    document = np.searchsorted(starts, np.arange(n), side="right") - 1
    whole = starts[document + 1] - np.arange(n) >= length
    suffixes = divsufsort(text)
    common = kasai(text, suffixes)
    begins = np.ones(n, bool)
    begins[1:] = common[: n - 1] < length
    group = np.cumsum(begins) - 1
    kept = whole[suffixes]
    group, place = group[kept], suffixes[kept]
    first = np.full(group[-1] + 1, n, dtype=np.int64)
    np.minimum.at(first, group, place)
    earliest = first[group]
    repeat = (place != earliest) & ((document[place] != document[earliest]) | (earliest + length <= place))
    cover = np.zeros(n + 1, np.int32)
    np.add.at(cover, place[repeat], 1)
    np.add.at(cover, place[repeat] + length, -1)
    return np.cumsum(cover)[:n] > 0


def main():
    workspace, length = Path(sys.argv[1]), int(sys.argv[2])
    documents = [(id, text.encode()) for id, text in rows(workspace / "steps/import/documents", ["id", "text"])]
    starts = np.cumsum([0] + [len(text) for _, text in documents])
    base = {id: start for (id, _), start in zip(documents, starts)}
    text = b"".join(text for _, text in documents)
    cover = repeats(text, starts, length)
    ours = np.zeros(len(text), bool)
    spans = list(rows(workspace / "steps/dedup_substrings/spans", ["id", "start", "bytes", "first_id", "first_start"]))
    for id, start, size, first_id, first_start in spans:
        here, first = base[id] + start, base[first_id] + first_start
        assert first < here and text[here : here + 20] == text[first : first + 20], (id.hex(), start)
        ours[here : here + size] = True
    missing = np.diff(np.concatenate([[0], (cover & ~ours).astype(np.int8), [0]]))
    stretches = list(zip(np.flatnonzero(missing == 1), np.flatnonzero(missing == -1)))
    inner = [text[a:b] for a, b in stretches if b - a > 3 and any(c in BOUNDARIES for c in text[a:b])]
    print(f"{len(documents)} documents, {len(text)} bytes; the suffix array covers {cover.sum()}, {len(spans)} spans {ours.sum()}")
    print(f"outside of the cover: {(ours & ~cover).sum()} bytes; left at edges: {len(stretches)} stretches, {len(inner)} with a boundary inside")
    sys.exit(bool((ours & ~cover).any() or inner))


if __name__ == "__main__":
    main()
