#!/usr/bin/env python3
"""Peer MosaicML streaming: reads the rows of packed shards at random with masks made, in one process. Prints one JSON object.

The shards' rows are first written as MDS. Masks are BERT's 80/10/10, made with numpy for a batch of 32 rows at once.
The same with ours: cargo run --release -p shards --example reader_speed -- FOLDER

usage: peer_streaming.py FOLDER [ROWS]     FOLDER: *.arrow shards of packed rows, for example steps/tokenize/tokens of a workspace
"""
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from streaming import MDSWriter, StreamingDataset

BATCH = 32
MASK, SPECIAL = 4, 5


def rows(folder, limit):
    for path in sorted(Path(folder).rglob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for i in range(reader.num_record_batches):
                tokens = reader.get_batch(i).column("tokens")
                table = tokens.flatten().to_numpy(zero_copy_only=True).reshape(len(tokens), -1)
                for row in table:
                    if limit == 0:
                        return
                    limit -= 1
                    yield row


def masked(batch, random, vocabulary):
    tokens = batch.astype(np.int64)
    labels = np.full_like(tokens, -100)
    chosen = (random.random(tokens.shape, dtype=np.float32) < 0.15) & (tokens >= SPECIAL)
    labels[chosen] = tokens[chosen]
    share = random.random(tokens.shape, dtype=np.float32)
    tokens[chosen & (share < 0.8)] = MASK
    other = chosen & (share >= 0.8) & (share < 0.9)
    tokens[other] = random.integers(SPECIAL, vocabulary, int(other.sum()))
    return tokens, labels


def read(dataset, mask, vocabulary):
    random = np.random.default_rng(1)
    batch, count = [], 0
    start = time.time()
    for sample in dataset:
        batch.append(sample["tokens"])
        if len(batch) == BATCH:
            tokens = np.stack(batch)
            count += tokens.size
            if mask:
                masked(tokens, random, vocabulary)
            batch = []
    return count / (time.time() - start)


def main():
    folder, limit = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else -1
    figures = {"peer": "mosaicml-streaming"}
    with tempfile.TemporaryDirectory() as out:
        written, top = 0, 0
        writer = None
        for row in rows(folder, limit):
            if writer is None:
                columns = {"tokens": f"ndarray:{row.dtype.name}:{len(row)}"}
                writer = MDSWriter(out=out, columns=columns, size_limit="64mb")
            writer.write({"tokens": row})
            written += 1
            top = max(top, int(row.max()))
        writer.finish()
        figures |= {"rows": written, "bytes": sum(path.stat().st_size for path in Path(out).iterdir())}

        def dataset():
            return StreamingDataset(local=out, shuffle=True, shuffle_seed=1, batch_size=BATCH, num_canonical_nodes=1)

        start = time.time()
        data = dataset()
        next(iter(data))
        figures["start_seconds"] = time.time() - start
        for name, mask in [("read", False), ("masked", True)]:
            figures[f"{name}_tokens_per_second"] = read(data, mask, top + 1)
        state = data.state_dict(written - BATCH, from_beginning=True)
        del data
        start = time.time()
        data = dataset()
        data.load_state_dict(state)
        next(iter(data))
        figures["resume_seconds"] = time.time() - start
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(figures))
    sys.stdout.flush()
    # Its threads wait for more epochs.
    os._exit(0)


if __name__ == "__main__":
    main()
