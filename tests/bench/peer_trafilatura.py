#!/usr/bin/env python3
"""Peer trafilatura: the main text of HTML files, one thread. Prints one JSON object.

usage: peer_trafilatura.py FOLDER [COUNT]     the first COUNT *.html files below it (600) in order of their paths' hashes
"""
import hashlib
import json
import sys
import time
from pathlib import Path

import trafilatura


def main():
    paths = sorted(Path(sys.argv[1]).rglob("*.html"), key=lambda path: hashlib.md5(str(path).encode()).digest())
    pages = [path.read_bytes() for path in paths[: int(sys.argv[2]) if len(sys.argv) > 2 else 600]]
    start, texts = time.process_time(), 0
    for page in pages:
        texts += len((trafilatura.extract(page, include_comments=False) or "").encode())
    seconds = time.process_time() - start
    size = sum(map(len, pages))
    print(json.dumps({"peer": "trafilatura", "html_cpu_seconds": seconds, "html_bytes": size, "pages": len(pages), "text_bytes": texts}))


if __name__ == "__main__":
    main()
