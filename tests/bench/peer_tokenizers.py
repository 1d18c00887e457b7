#!/usr/bin/env python3
"""Peer tokenizers: learns a byte-level BPE and a WordPiece of 16 000 entries from the documents whose `split` is train or absent,
and encodes all documents with both, and with a tokenizer.json if one is given. Prints one JSON object.

usage: peer_tokenizers.py CORPUS.jsonl [TOKENIZER.json]
"""
import json
import resource
import sys
import time

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

VOCABULARY = 16_000


def main():
    with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
        rows = [json.loads(line) for line in lines]
    texts = [row["text"] for row in rows]
    train = [row["text"] for row in rows if row.get("split", "train") == "train"]
    figures = {"peer": "tokenizers", "learn_bytes": sum(len(text.encode()) for text in train)}
    figures["encode_bytes"] = sum(len(text.encode()) for text in texts)

    def learn(name, tokenizer, trainer):
        start = time.time()
        tokenizer.train_from_iterator(train, trainer)
        figures[f"{name}_learn_seconds"] = time.time() - start

    def encode(name, tokenizer):
        start, tokens = time.time(), 0
        for i in range(0, len(texts), 1000):
            tokens += sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts[i : i + 1000], add_special_tokens=False))
        figures[f"{name}_encode_seconds"] = time.time() - start
        figures[f"{name}_tokens"] = tokens

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn("bpe", bpe, trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False))
    encode("bpe", bpe)

    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer()
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learn("wordpiece", wordpiece, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False))
    encode("wordpiece", wordpiece)

    if len(sys.argv) > 2:
        encode("given", Tokenizer.from_file(sys.argv[2]))
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
