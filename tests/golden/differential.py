#!/usr/bin/env python3
"""Compares with the reference programs on fresh random cases: as many of each kind as asked, by all processors, then the golden tests over them.

pip install what make_golden.py names, then python differential.py [--cases 10000] [--seed N] [--folder DIR] [NAME ...]
Cases of intervals and paired tests, each of hundreds of draws, are a tenth of that. What a package is missing for is said and left out.
With the seed that it prints, the same cases come again. `--only-make` makes the files, for CORPUSMILL_GOLDEN=DIR cargo test -p score --test golden.
"""

import argparse
import gzip
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import make_golden

# Cases that a process makes at once.
CHUNK = 50
# Those of the stage `baseline` have tests of their own.
NAMES = [name for name in make_golden.MAKERS if name != "baseline"]
SLOW = {"significance": 10}


def chunk(work):
    name, seed, first, count = work
    rng = random.Random(f"{seed} {name} {first}")
    return [make_golden.MAKERS[name][2](rng, index) for index in range(first, first + count)]


def make(pool, name, seed, count, folder):
    """Writes the file of a kind; False where a package is missing."""
    begin = time.monotonic()
    work = [(name, seed, first, min(CHUNK, count - first)) for first in range(0, count, CHUNK)]
    try:
        cases = [case for made in pool.imap(chunk, work) for case in made]
    except ModuleNotFoundError as error:
        print(f"{name}: left out: {error}")
        return False
    content = {"cases": cases}
    if name == "bleu":
        with gzip.open(make_golden.HERE / "bleu.json.gz") as committed:
            content["every_character"] = json.load(committed)["every_character"]
    make_golden.write(folder / f"{name}.json.gz", content)
    print(f"    {time.monotonic() - begin:.0f} s")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--folder", type=Path, help="where the files stay; a temporary folder unless given")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only-make", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all unless given")
    settings = parser.parse_args()
    unknown = set(settings.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    print(f"seed {settings.seed}")
    with tempfile.TemporaryDirectory() as temporary, multiprocessing.Pool(settings.processes) as pool:
        folder = settings.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            count = max(1, settings.cases // SLOW.get(name, 1))
            if name not in (settings.names or NAMES) or not make(pool, name, settings.seed, count, folder):
                shutil.copy(make_golden.HERE / f"{name}.json.gz", folder)
        if settings.only_make:
            return 0
        environment = {**os.environ, "CORPUSMILL_GOLDEN": str(folder.absolute())}
        command = ["cargo", "test", "--release", "-p", "score", "--test", "golden", "--", "--nocapture"]
        return subprocess.run(command, cwd=make_golden.HERE, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
