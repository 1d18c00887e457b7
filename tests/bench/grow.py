#!/usr/bin/env python3
"""Grows a JSONL corpus K times, for tests of scale: in copy k 40 % of the words are seeded draws from the corpus, so that copies
are no near-duplicates of each other, except for 2 % of the documents, where 3 % of the words are.

usage: grow.py IN.jsonl K > OUT.jsonl
"""
import json
import random
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
        rows = [json.loads(line) for line in lines]
    rng = random.Random(7)
    vocabulary = [word for row in rng.sample(rows, min(len(rows), 4000)) for word in row["text"].split()]
    for k in range(int(sys.argv[2])):
        for n, row in enumerate(rows):
            if k:
                rng = random.Random(k * 1_000_003 + n)
                share = 0.03 if rng.random() < 0.02 else 0.4
                words = (rng.choice(vocabulary) if rng.random() < share else word for word in row["text"].split(" "))
                row = {**row, "id": f"{row['id']}~{k}", "text": " ".join(words)}
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
