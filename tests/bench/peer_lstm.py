#!/usr/bin/env python3
"""Tokens/s of a training step of a recurrent language model in PyTorch, with fused AdamW.

usage: peer_lstm.py [--cell lstm|gru|rnn] [--bf16]
Needs torch, transformers and safetensors.
"""
import argparse
import pathlib
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from parity_networks import Recurrent  # noqa: E402


def speed(cell, bf16, vocabulary=16000, width=384, layers=2, batch=16, rows=256, steps=12):
    """Tokens/s of whole training steps, with fused AdamW."""
    torch.set_num_threads(2)
    torch.manual_seed(1)
    model = Recurrent(cell, vocabulary, width, layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(0, vocabulary, (batch, rows + 1))
    seconds = []
    for _ in range(steps):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, _ = model(ids[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.reshape(-1, vocabulary), ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begun)
    typical = sorted(seconds[2:])[len(seconds[2:]) // 2]
    print(f"{cell}, bf16 {bf16}: {batch * rows / typical:.0f} tokens/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", default="lstm", choices=["lstm", "gru", "rnn"])
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    speed(arguments.cell, arguments.bf16)


if __name__ == "__main__":
    main()
