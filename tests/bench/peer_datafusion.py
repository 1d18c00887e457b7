#!/usr/bin/env python3
"""Peer DataFusion: JSON Lines to Parquet and nothing else (no ids, no checks, no duplicates), which is what `import` and `dedup` are held against.
Prints one JSON object with the seconds of the best of three, after a first that warms the file's pages.

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
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        for number in range(4):
            context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(threads))
            started = time.perf_counter()
            context.read_json(str(corpus), file_extension=corpus.suffix).write_parquet(f"{out}/{number}", compression="zstd", compression_level=1)
            seconds.append(time.perf_counter() - started)
    best = min(seconds[1:])
    print(json.dumps({"peer": f"datafusion {datafusion.__version__}", "seconds": best, "bytes": text, "mb_per_second": text / best / 1e6}))


if __name__ == "__main__":
    main()
