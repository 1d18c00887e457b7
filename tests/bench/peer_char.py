#!/usr/bin/env python3
"""A character model in plain PyTorch with the network and the settings of nanoGPT's shakespeare-char on a CPU, and its loss on the whole validation text.

usage: peer_char.py TRAIN.txt VALID.txt [--steps N] [--seed N] [--threads N]
Beside it: the step `gpt` of configs/shakespeare-char.toml on the same files. Needs torch and numpy.
"""
import argparse
import math
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

LAYERS, HEADS, WIDTH, BLOCK, BATCH = 4, 4, 128, 64, 12
RATE, LOWEST, WARMUP, DECAY, BETAS = 1e-3, 1e-4, 100, 0.1, (0.9, 0.99)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.attention = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.projection = nn.Linear(WIDTH, WIDTH, bias=False)
        self.inner = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.outer = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        for to_residual in (self.projection, self.outer):
            to_residual.deviation = 0.02 / math.sqrt(2 * LAYERS)

    def forward(self, x):
        rows, time_, _ = x.shape
        q, k, v = (part.view(rows, time_, HEADS, -1).transpose(1, 2) for part in self.attention(self.norms[0](x)).chunk(3, -1))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape)
        x = x + self.projection(attended)
        return x + self.outer(functional.gelu(self.inner(self.norms[1](x))))


class Network(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=getattr(module, "deviation", 0.02))

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)


def rate(step, steps):
    """Of step number `step` from 0 on: linear warm-up, then half a cosine."""
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    return LOWEST + 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP))) * (RATE - LOWEST)


@torch.no_grad()
def loss_of(network, ids):
    """Mean over all characters but the first, in windows that follow one another."""
    total, count = 0.0, 0
    starts = range(0, len(ids) - 1, BLOCK)
    for first in range(0, len(starts), 100):
        for length in (BLOCK, (len(ids) - 1) % BLOCK):
            windows = [ids[start : start + BLOCK + 1] for start in starts[first : first + 100]]
            windows = [window for window in windows if len(window) == length + 1 and length > 0]
            if windows:
                rows = torch.stack(windows)
                total += functional.cross_entropy(network(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
                count += rows[:, 1:].numel()
    return total / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    texts = [open(path, encoding="utf-8").read() for path in (arguments.train, arguments.valid)]
    characters = {c: id_ for id_, c in enumerate(sorted(set("".join(texts))))}
    train, valid = (torch.tensor(numpy.array([characters[c] for c in text])) for text in texts)
    network = Network(len(characters))
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    size = sum(p.numel() for p in network.parameters())
    print(f"{len(characters)} characters, {size} parameters, {len(train)} and {len(valid)} characters of text", flush=True)
    begun = time.perf_counter()
    for step in range(arguments.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, arguments.steps)
        starts = torch.randint(len(train) - BLOCK, (BATCH,)).tolist()
        rows = torch.stack([train[start : start + BLOCK + 1] for start in starts])
        loss = functional.cross_entropy(network(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 500 == 0:
            seconds = time.perf_counter() - begun
            print(f"step {step + 1}: loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    network.eval()
    print(f"validation loss {loss_of(network, valid):.4f}, training text {loss_of(network, train[:200000]):.4f}")


if __name__ == "__main__":
    main()
