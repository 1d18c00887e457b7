#!/usr/bin/env python3
"""Peer rensa (MinHash and LSH in Rust behind Python): word 5-grams, 112 permutations in 14 bands, one thread, in memory, and no
verification of candidates. Prints one JSON object.

usage: peer_rensa.py CORPUS.jsonl
"""
import json
import re
import sys
import time

from rensa import RMinHash, RMinHashLSH


def main():
    with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    start, kept = time.time(), 0
    index = RMinHashLSH(threshold=0.72, num_perm=112, num_bands=14)
    for i, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        sketch = RMinHash(num_perm=112, seed=42)
        sketch.update([" ".join(words[j : j + 5]) for j in range(max(1, len(words) - 4))])
        if not index.query(sketch):
            kept += 1
        index.insert(i, sketch)
    seconds = time.time() - start
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"peer": "rensa", "minhash_seconds": seconds, "minhash_bytes": size, "documents": len(texts), "kept": kept}))


if __name__ == "__main__":
    main()
