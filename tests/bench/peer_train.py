#!/usr/bin/env python3
"""Peer PyTorch on the CPU: training speed of a 16.9 M-parameter model (6 layers, 384 wide, 6 heads, vocabulary 16 000, 256 tokens,
batch of 16) on random tokens. Prints one JSON object with tokens per second of the median step, and the most memory that the process held.

usage: peer_train.py KIND PRECISION [STEPS]
KIND       gpt, bert (plain modules, SDPA, fused AdamW), hf-gpt2, hf-bert (transformers), lstm (torch.nn.LSTM, 2 × 384, tied); with +compile through torch.compile
           optimizer: milliseconds of clipping, the fused step and forgetting the gradients of gpt's parameters alone
PRECISION  f32 or bf16 (autocast)
"""
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, VOCABULARY, TOKENS, BATCH = 6, 384, 6, 16_000, 256, 16
WARM_UP = 3


class Block(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.norm_attention, self.norm_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).view(batch, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block(causal) for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x, y):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(self.head(self.norm(h)).view(-1, VOCABULARY).float(), y.view(-1), ignore_index=-100)


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.rnn = nn.Embedding(VOCABULARY, WIDTH), nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)
        self.head.weight = self.tokens.weight
        nn.init.uniform_(self.tokens.weight, -0.1, 0.1)

    def forward(self, x, y):
        h, _ = self.rnn(self.tokens(x))
        return F.cross_entropy(self.head(h).view(-1, VOCABULARY), y.view(-1))


def model(kind):
    """The module, and its loss as a function of inputs and targets."""
    if kind in ("gpt", "bert"):
        module = Model(causal=kind == "gpt")
        return module, lambda m, x, y: m(x, y)
    if kind == "lstm":
        return Lstm(), lambda m, x, y: m(x, y)
    if kind == "hf-gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        off = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
        module = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=TOKENS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, **off))
    elif kind == "hf-bert":
        from transformers import BertConfig, BertForMaskedLM

        off = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
        shape = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH}
        module = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=TOKENS, **shape, **off))
    else:
        sys.exit(f"unknown kind `{kind}`\n{__doc__}")
    return module, lambda m, x, y: m(input_ids=x, labels=y).loss


def optimizer_alone(steps):
    module = Model(causal=True)
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=3e-4, fused=True)
    seconds = []
    for _ in range(steps + WARM_UP):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        start = time.time()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.time() - start)
    print(json.dumps({"peer": "optimizer", "parameters": sum(p.numel() for p in parameters), "milliseconds": statistics.median(seconds[WARM_UP:]) * 1e3}))


def memory_mb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def main():
    kind, precision = sys.argv[1:3]
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    torch.manual_seed(0)
    if kind == "optimizer":
        return optimizer_alone(steps)
    module, loss_of = model(kind.removesuffix("+compile"))
    if kind.endswith("+compile"):
        module = torch.compile(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-4, fused=True)
    seconds = []
    for _ in range(steps + WARM_UP):
        x, y = torch.randint(0, VOCABULARY, (BATCH, TOKENS)), torch.randint(0, VOCABULARY, (BATCH, TOKENS))
        if "bert" in kind:
            y = torch.where(torch.rand(BATCH, TOKENS) < 0.15, y, torch.full_like(y, -100))
        start = time.time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(module, x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.time() - start)
    median = statistics.median(seconds[WARM_UP:])
    parameters = sum(p.numel() for p in module.parameters())
    figures = {"peer": kind, "precision": precision, "parameters": parameters, "tokens_per_second": BATCH * TOKENS / median}
    print(json.dumps({**figures, "memory_mb": memory_mb(), "loss": loss.item()}))


if __name__ == "__main__":
    main()
