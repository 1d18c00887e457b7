#!/usr/bin/env python3
"""Peer DataFusion: JSON Lines to Parquet and nothing else (no ids, no checks, no duplicates), which is what `import` and `dedup` are held against.
Prints a JSON object for each compression, that of DataFusion's own writer and that of ours, with the seconds of the best of three, after a first
that warms the file's pages.

usage: peer_datafusion.py CORPUS.jsonl [THREADS]     (pip install datafusion)
"""
import json
import pathlib
import sys
import tempfile
import time

import datafusion


def main():
    corpus, threads = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with open(corpus, encoding="utf-8") as lines:
        text = sum(len(json.loads(line)["text"].encode()) for line in lines)
    for codec, level in (("zstd", 3), ("lz4_raw", None)):
        best = min(write(corpus, threads, codec, level)[1:])
        figures = {"peer": f"datafusion {datafusion.__version__}", "compression": codec, "seconds": best, "bytes": text, "mb_per_second": text / best / 1e6}
        print(json.dumps(figures))


def write(corpus, threads, codec, level):
    """Seconds of four runs."""
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        for number in range(4):
            context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(threads))
            started = time.perf_counter()
            context.read_json(str(corpus), file_extension=corpus.suffix).write_parquet(f"{out}/{number}", compression=codec, compression_level=level)
            seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
