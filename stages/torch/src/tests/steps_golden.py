#!/usr/bin/env python3
"""Makes steps_golden.json beside it: ten steps of a small GPT-2 as transformers and torch.optim.AdamW take them.

Needs torch 2.13 and transformers 5.24. Run it only to change the case: the file is committed, and tests read it without Python.
First weights are those of tests/parity_networks.py. With `--rounding`, tells how far the same steps in double precision are off.
"""
import json
import math
import sys
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, get_cosine_with_min_lr_schedule_with_warmup

STEPS, ROWS, VOCABULARY = 10, 8, 50
SETTINGS = {
    "steps": STEPS,
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "min_learning_rate": 1e-3,
    "warmup_steps": 3,
    "schedule": "cosine",
    "weight_decay": 0.1,
    "betas": [0.9, 0.95],
    "epsilon": 1e-8,
    "grad_clip": 2.0,
}
torch.set_num_threads(1)


def network():
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=24,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_inner=32,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        architectures=["GPT2LMHeadModel"],
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            start = sum(byte * (i + 1) for i, byte in enumerate(name.encode())) % 1000
            one = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            values = [one + 0.1 * math.sin(i * 0.7548776662 + start) for i in range(parameter.numel())]
            parameter.copy_(torch.tensor(values, dtype=torch.float64).float().reshape(parameter.shape))
    return model


def rows(step):
    """Rows of 8 to 16 tokens, so that batches predict unequally many."""
    lengths = [8 + (step * 5 + i * 3) % 9 for i in range(ROWS)]
    token = lambda i, j: 3 + (step * 7 + i * 13 + j * j * 5 + j * (i + 2)) % (VOCABULARY - 3)
    return [[token(i, j) for j in range(length)] for i, length in enumerate(lengths)]


def steps(model, batches):
    decaying = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decaying}, {"params": rest, "weight_decay": 0.0}],
        lr=SETTINGS["learning_rate"],
        betas=SETTINGS["betas"],
        eps=SETTINGS["epsilon"],
        weight_decay=SETTINGS["weight_decay"],
    )
    schedule = get_cosine_with_min_lr_schedule_with_warmup(optimizer, SETTINGS["warmup_steps"], STEPS, min_lr=SETTINGS["min_learning_rate"])
    losses, norms = [], []
    for batch in batches:
        schedule.step()  # Their first step is number 0.
        length = max(map(len, batch))
        ids = torch.tensor([row + [0] * (length - len(row)) for row in batch])
        labels = torch.tensor([row + [-100] * (length - len(row)) for row in batch])
        logits = model(input_ids=ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["grad_clip"]).item())
        losses.append(loss.item())
        optimizer.step()
    lengths = {name: parameter.detach().double().norm().item() for name, parameter in model.named_parameters()}
    return {"losses": losses, "gradients": norms, "weights": lengths}


def main():
    batches = [rows(step) for step in range(STEPS)]
    model = network()
    golden = {"torch": torch.__version__, "settings": SETTINGS, "config": model.config.to_dict(), "rows": batches, **steps(model, batches)}
    if "--rounding" in sys.argv:
        exact = steps(network().double(), batches)
        off = lambda a, b: max(abs(a - b) for a, b in zip(a, b))
        print("losses", golden["losses"], off(golden["losses"], exact["losses"]))
        print("gradients", golden["gradients"], off(golden["gradients"], exact["gradients"]))
        print("weights", {name: abs(golden["weights"][name] - exact["weights"][name]) for name in exact["weights"]})
        return
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
