#!/usr/bin/env python3
"""Peers tokenizers and gigatoken: encode all documents with a given tokenizer.json, best of three, all threads.
Prints one JSON object per peer with a hash of all ids in order, which must equal that of
`cargo run --release -p text --example encode_speed -- CORPUS.jsonl TOKENIZER.json`.

usage: peer_encode.py CORPUS.jsonl TOKENIZER.json [PEER…]
"""
import json
import sys
import time

import numpy
import xxhash


def use_tokenizers(path):
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(path)
    # As `mill` does: special tokens in a text are text.
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(texts):
        ids = []
        for i in range(0, len(texts), 1000):
            ids.extend(e.ids for e in tokenizer.encode_batch_fast(texts[i : i + 1000], add_special_tokens=False))
        return ids

    return encode, lambda ids: numpy.concatenate([numpy.asarray(one, dtype="<u4") for one in ids])


def use_gigatoken(path):
    import gigatoken

    tokenizer = gigatoken.Tokenizer(path)

    def flat(ids):
        if hasattr(ids, "layout"):
            return numpy.asarray(ids.layout.content.data, dtype="<u4")
        return numpy.concatenate([numpy.asarray(one, dtype="<u4") for one in ids])

    return tokenizer.encode_batch, flat


PEERS = {"tokenizers": use_tokenizers, "gigatoken": use_gigatoken}


def main():
    with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    size = sum(len(text.encode()) for text in texts)
    for name in sys.argv[3:] or PEERS:
        encode, flat = PEERS[name](sys.argv[2])
        best = float("inf")
        for _ in range(3):
            start = time.time()
            ids = encode(texts)
            best = min(best, time.time() - start)
        ids = flat(ids)
        figures = {"peer": name, "seconds": round(best, 3), "mb_per_second": round(size / 1e6 / best, 1), "tokens": len(ids)}
        print(json.dumps(figures | {"ids": xxhash.xxh3_64_hexdigest(ids.tobytes())}), flush=True)


if __name__ == "__main__":
    main()
