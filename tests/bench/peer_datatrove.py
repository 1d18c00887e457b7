#!/usr/bin/env python3
"""Peer datatrove: Gopher repetition and quality filters, then MinHash (the FineWeb settings: word 5-grams, 14 bands of 8), with as
many workers as given. Prints one JSON object.

usage: peer_datatrove.py CORPUS.jsonl WORK [WORKERS]
"""
import json
import os
import shutil
import sys
import time

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig


def texts(folder):
    for name in os.listdir(folder):
        with open(f"{folder}/{name}", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def main():
    corpus, work = sys.argv[1:3]
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(f"{work}/in")
    outs = [open(f"{work}/in/{i}.jsonl", "wb") for i in range(workers)]
    for i, line in enumerate(open(corpus, "rb")):
        outs[i % workers].write(line)
    for out in outs:
        out.close()
    config = MinhashConfig(hash_config=HashConfig(precision=64, hash_fc="sha1"), num_buckets=14, hashes_per_bucket=8, n_grams=5)

    def run(name, steps, tasks):
        start = time.time()
        LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=workers, logging_dir=f"{work}/log-{name}", skip_completed=False).run()
        return time.time() - start

    def read(folder):
        return JsonlReader(f"{work}/{folder}")

    def write(folder):
        return JsonlWriter(f"{work}/{folder}", compression=None)

    filters = run("filters", [read("in"), GopherRepetitionFilter(), GopherQualityFilter(), write("clean")], workers)
    minhash = run("signatures", [read("clean"), MinhashDedupSignature(output_folder=f"{work}/signatures", config=config)], workers)
    minhash += run("buckets", [MinhashDedupBuckets(input_folder=f"{work}/signatures", output_folder=f"{work}/buckets", config=config)], 14)
    minhash += run("cluster", [MinhashDedupCluster(input_folder=f"{work}/buckets", output_folder=f"{work}/remove", config=config)], 1)
    minhash += run("remove", [read("clean"), MinhashDedupFilter(input_folder=f"{work}/remove"), write("dedup")], workers)
    print(json.dumps({
        "peer": "datatrove",
        "filters_seconds": filters,
        "minhash_seconds": minhash,
        "filters_bytes": sum(len(text.encode()) for text in texts(f"{work}/in")),
        "minhash_bytes": sum(len(text.encode()) for text in texts(f"{work}/clean")),
        "kept_after_filters": sum(1 for _ in texts(f"{work}/clean")),
        "kept_after_dedup": sum(1 for _ in texts(f"{work}/dedup")),
    }))


if __name__ == "__main__":
    main()
