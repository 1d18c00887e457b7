#!/usr/bin/env python3
"""Measures training: every round trains each network of 16.9 million parameters (6 layers, 384 wide, 6 heads, vocabulary 16 000, rows of 256,
16 a step) for a few steps on real text, then PyTorch and transformers do the same (peer_train.py); medians are printed as Markdown.
Measure on an idle machine.

usage: train.py --mill MILL --corpus en100.jsonl --peers PYTHON [--precision f32|bf16|both] [--rounds N] [--steps N] [--work FOLDER]
                [--only NAME,…]

PYTHON runs peer_train.py: a Python that imports torch and transformers. Memory is the most that the whole process held.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from run import HERE, output

CONFIG = "train.toml"
MODEL = "layers = 6, width = 384, heads = 6"
# Name: (tokens, the setting `model`, other settings, peers).
NETWORKS = {
    "gpt": ("causal", f'{{ family = "gpt", {MODEL} }}', "", ["gpt", "gpt+compile", "hf-gpt2"]),
    "gpt, checkpointing": ("causal", f'{{ family = "gpt", {MODEL} }}', "activation_checkpointing = true", []),
    "bert": ("masked", f'{{ family = "bert", {MODEL} }}', "masked_probability = 0.15", ["bert", "bert+compile", "hf-bert"]),
    "lstm": ("causal", '{ family = "rnn", layers = 2, width = 384 }', "", ["lstm"]),
}
STEP = """
[[step]]
name = "{name}"
stage = "train"
model = {model}
steps = {steps}
batch_size = 16
learning_rate = 3e-4
warmup_steps = 0
eval_interval_steps = 0
precision = "{precision}"
{settings}
inputs = {{ tokens = "{tokens}", tokenizer = "{tokenizer}" }}
"""
WARM_UP = 3


def ours(arguments, work, name, precision):
    """Tokens a second of the median step, MB, share of the machine's products, and milliseconds of clipping, stepping and forgetting."""
    tokens, model, settings, _ = NETWORKS[name]
    step = name.replace(", ", "_")
    fields = {"name": step, "model": model, "settings": settings, "precision": precision, "tokens": tokens}
    fields |= {"tokenizer": {"causal": "bpe", "masked": "wordpiece"}[tokens], "steps": arguments.steps + WARM_UP}
    (work / CONFIG).write_text((HERE / CONFIG).read_text() + STEP.format(**fields))
    command = [arguments.mill, "run", CONFIG, "--threads", "2", "--force", step]
    subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sql = f"select tokens_per_second as speed, memory_bytes, flops_utilization as used, optimizer_seconds as update from {step}.timings where step > {WARM_UP}"
    rows = json.loads(output([arguments.mill, "sql", CONFIG, "--format", "json", "-c", sql], cwd=work))
    median = lambda key: statistics.median(row[key] for row in rows)
    return {"speed": median("speed"), "memory": max(row["memory_bytes"] for row in rows) / 1e6, "used": median("used"), "update": median("update") * 1e3}


def peer(arguments, kind, precision):
    found = output([*arguments.peers.split(), HERE / "peer_train.py", kind, precision, str(arguments.steps)], stderr=subprocess.DEVNULL)
    found = json.loads(found.strip().splitlines()[-1])
    return {"speed": found["tokens_per_second"], "memory": found["memory_mb"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mill", type=lambda path: pathlib.Path(path).resolve(), required=True)
    parser.add_argument("--corpus", type=lambda path: pathlib.Path(path).resolve(), required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--precision", choices=["f32", "bf16", "both"], default="both")
    parser.add_argument("--only", default=",".join(name for name in NETWORKS if "," not in name))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--work", type=pathlib.Path)
    arguments = parser.parse_args()
    work = arguments.work or pathlib.Path(tempfile.mkdtemp(prefix="train-"))
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "corpus.jsonl").exists():
        (work / "corpus.jsonl").symlink_to(arguments.corpus)
    figures, updates = {}, []
    for number in range(arguments.rounds):
        for precision in ["f32", "bf16"] if arguments.precision == "both" else [arguments.precision]:
            for name in arguments.only.split(","):
                if name == "lstm" and precision == "bf16":
                    continue
                figures.setdefault((name, precision, "mill"), []).append(ours(arguments, work, name, precision))
                for kind in NETWORKS[name][3]:
                    figures.setdefault((name, precision, kind), []).append(peer(arguments, kind, precision))
        found = output([*arguments.peers.split(), HERE / "peer_train.py", "optimizer", "f32", str(arguments.steps)], stderr=subprocess.DEVNULL)
        updates.append(json.loads(found.strip().splitlines()[-1])["milliseconds"])
        print(f"round {number + 1} done", file=sys.stderr)
    print("| network | precision | program | tokens/s | of ours | memory, MB |\n|---|---|---|---:|---:|---:|")
    for (name, precision, program), found in figures.items():
        median = lambda key: statistics.median(one[key] for one in found)
        ratio = statistics.median(one["speed"] for one in figures[name, precision, "mill"]) / median("speed")
        print(f"| {name} | {precision} | {program} | {median('speed'):,.0f} | {ratio:.2f} | {median('memory'):,.0f} |")
    used = [f"{name} in {precision} {found[0]['used']:.2f}" for (name, precision, program), found in figures.items() if program == "mill"]
    print(f"\nShare of the operations that a product of 1 024³ reaches here: {', '.join(used)}.")
    ours_update = {f"{name} in {precision}": statistics.median(one["update"] for one in found) for (name, precision, program), found in figures.items() if program == "mill"}
    ours_update = ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in ours_update.items())
    print(f"Clipping, AdamW and forgetting the gradients, ms: {ours_update}; PyTorch's for gpt {statistics.median(updates):.1f}.")
    if not arguments.work:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
