#!/usr/bin/env python3
"""Runs a command and samples, every 50 ms, the resident memory of its whole process tree (the sum over all processes, so pages
that several share count several times). Linux only; Python's standard library only.

usage: memory.py [--limit MB] [--json FILE] COMMAND [ARGUMENT…]
Prints the peak to stderr when the command ends and exits with its code, or with 3 if the peak was above the limit.
"""
import argparse
import json
import os
import subprocess
import sys
import time

PAGE = os.sysconf("SC_PAGE_SIZE")


def snapshot():
    """{pid: (parent, session, resident bytes)} of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # ended meanwhile
            found[int(entry)] = (int(fields[1]), int(fields[3]), int(fields[21]) * PAGE)
    return found


def tree(processes, root):
    """The root, its descendants, and what else is in the session that was opened for it (children whose parent has ended)."""
    members = {pid for pid, (_, session, _) in processes.items() if session == root}
    members.add(root)
    while True:
        more = {pid for pid, (parent, _, _) in processes.items() if parent in members} - members
        if not more:
            return members
        members |= more


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, metavar="MB", help="exit with 3 if the peak is above")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("no command given")
    start = time.monotonic()
    process = subprocess.Popen(arguments.command, start_new_session=True)
    peak, at, largest = 0, 0.0, 0
    try:
        while process.poll() is None:
            processes = snapshot()
            members = [processes[pid][2] for pid in tree(processes, process.pid) if pid in processes]
            if sum(members) > peak:
                peak, at, largest = sum(members), time.monotonic() - start, len(members)
            time.sleep(0.05)
    except KeyboardInterrupt:
        os.killpg(process.pid, 2)
        process.wait()
    seconds = time.monotonic() - start
    figures = {"peak_mb": round(peak / 1e6, 1), "at_second": round(at, 2), "processes": largest}
    figures |= {"seconds": round(seconds, 2), "exit": process.returncode}
    print(f"peak resident memory {figures['peak_mb']} MB ({largest} processes, at {at:.1f} s of {seconds:.1f} s)", file=sys.stderr)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump(figures, out)
    if arguments.limit is not None and peak > arguments.limit * 1e6:
        print(f"above the limit of {arguments.limit:g} MB", file=sys.stderr)
        sys.exit(3)
    sys.exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)


if __name__ == "__main__":
    main()
