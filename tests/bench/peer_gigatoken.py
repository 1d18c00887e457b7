#!/usr/bin/env python3
"""Peer gigatoken (Rust, all threads): encodes with a given tokenizer.json, best of three. Prints one JSON object.

usage: peer_gigatoken.py CORPUS.jsonl TOKENIZER.json
"""
import json
import sys
import time

import gigatoken


def main():
    with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    tokenizer = gigatoken.Tokenizer(sys.argv[2])
    best = float("inf")
    for _ in range(3):
        start = time.time()
        encoded = tokenizer.encode_batch(texts)
        best = min(best, time.time() - start)
    tokens = len(encoded.layout.content) if hasattr(encoded, "layout") else sum(map(len, encoded))
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"peer": "gigatoken", "encode_seconds": best, "encode_bytes": size, "tokens": int(tokens)}))


if __name__ == "__main__":
    main()
