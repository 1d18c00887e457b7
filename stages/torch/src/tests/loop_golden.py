#!/usr/bin/env python3
"""Makes loop_golden.json beside it: optimizers and schedules as PyTorch computes them.

Needs torch 2.13. Run it only to change the cases: the file is committed, and tests read it without Python.
Lion is not in torch: the paper's algorithm 2 is written out. Muon's iteration is done in f32 here, because bf16 products differ by CPU.
Schedules of transformers (inverse square root, warm-up stable decay) are written out by their definitions in its optimization.py.
"""
import json
import math
from pathlib import Path

import torch

STEPS = 12
torch.set_num_threads(1)


def wave(count, factor):
    """Numbers without pattern that every language computes alike: sin(factor k), as f32."""
    return torch.tensor([math.sin(factor * k) for k in range(1, count + 1)], dtype=torch.float64).float()


def network():
    """Names and variables: two layers, the first of which counts as within a block."""
    shapes = {"h.0.weight": (6, 5), "h.0.bias": (6,), "head.weight": (3, 6)}
    return {name: (0.5 * wave(math.prod(shape), 1.7 + i)).reshape(shape).requires_grad_() for i, (name, shape) in enumerate(shapes.items())}


def loss_of(variables, step):
    """Mean squared error on 8 rows that differ by step."""
    x, target = wave(40, 0.3 + step).reshape(8, 5), wave(24, 0.9 + step).reshape(8, 3)
    hidden = torch.tanh(x @ variables["h.0.weight"].T + variables["h.0.bias"])
    return ((hidden @ variables["head.weight"].T - target) ** 2).mean()


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = torch.sign(beta1 * m + (1 - beta1) * p.grad) + group["weight_decay"] * p
                p -= group["lr"] * update
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


def run(settings, make, penalty=None, clip=None):
    variables = network()
    decaying = [v for v in variables.values() if v.dim() > 1]
    groups = [{"params": decaying}, {"params": [variables["h.0.bias"]], "weight_decay": 0.0}]
    optimizers = make(variables, groups)
    losses = []
    for step in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = loss_of(variables, step)
        losses.append(loss.item())
        (loss + (penalty(decaying) if penalty else 0)).backward()
        if clip:
            clip(list(variables.values()))
        for optimizer in optimizers:
            optimizer.step()
    weights = {name: v.detach().reshape(-1).tolist() for name, v in variables.items()}
    return {"settings": {"steps": STEPS, "grad_clip": 0.0, **settings}, "losses": losses, "weights": weights}


def optimizers():
    optim = torch.optim
    adam = {"learning_rate": 0.05, "weight_decay": 0.1, "betas": [0.9, 0.95], "epsilon": 1e-8}
    kwargs = dict(lr=0.05, weight_decay=0.1, betas=(0.9, 0.95), eps=1e-8)
    yield run({"optimizer": "adamw", **adam}, lambda v, g: [optim.AdamW(g, **kwargs)])
    yield run({"optimizer": "adam", **adam}, lambda v, g: [optim.Adam(g, **kwargs)])
    sgd = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}
    yield run({**sgd, "momentum": 0.0}, lambda v, g: [optim.SGD(g, lr=0.1, weight_decay=0.01)])
    yield run(sgd, lambda v, g: [optim.SGD(g, lr=0.1, weight_decay=0.01, momentum=0.9)])
    yield run({**sgd, "nesterov": True}, lambda v, g: [optim.SGD(g, lr=0.1, weight_decay=0.01, momentum=0.9, nesterov=True)])
    yield run(
        {"optimizer": "adagrad", "learning_rate": 0.1, "weight_decay": 0.01, "epsilon": 1e-10},
        lambda v, g: [optim.Adagrad(g, lr=0.1, weight_decay=0.01, eps=1e-10)],
    )
    yield run(
        {"optimizer": "lion", "learning_rate": 0.01, "weight_decay": 0.3, "betas": [0.9, 0.99]},
        lambda v, g: [Lion(g, lr=0.01, weight_decay=0.3, betas=(0.9, 0.99))],
    )

    def muon(variables, _groups):
        rest = [{"params": [variables["head.weight"]]}, {"params": [variables["h.0.bias"]], "weight_decay": 0.0}]
        return [
            optim.Muon([variables["h.0.weight"]], lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            optim.AdamW(rest, **kwargs),
        ]

    yield run({"optimizer": "muon", "precision": "f32", **adam}, muon)
    l1 = lambda matrices: 0.02 * sum(m.abs().sum() for m in matrices)
    yield run({**sgd, "l1": 0.02}, lambda v, g: [optim.SGD(g, lr=0.1, weight_decay=0.01, momentum=0.9)], penalty=l1)

    def clip(variables):
        torch.nn.utils.clip_grad_norm_(variables, 0.3)
        torch.nn.utils.clip_grad_value_(variables, 0.05)

    yield run({**sgd, "grad_clip": 0.3, "clip_value": 0.05}, lambda v, g: [optim.SGD(g, lr=0.1, weight_decay=0.01, momentum=0.9)], clip=clip)

    def grouped(variables, _groups):
        bias = {"params": [variables["h.0.bias"]], "lr": 0.025, "weight_decay": 0.5}
        variables["head.weight"].requires_grad_(False)
        return [optim.AdamW([{"params": [variables["h.0.weight"]]}, bias], **kwargs)]

    groups = [
        {"pattern": "head.*", "freeze": True},
        {"pattern": "*.bias", "learning_rate_factor": 0.5, "weight_decay": 0.5},
        {"pattern": "*", "learning_rate_factor": 1.0},
    ]
    yield run({"optimizer": "adamw", **adam, "groups": groups}, grouped)


def scheduled(scheduler, total):
    """Rates of the steps 1, 2, … by a scheduler of torch, whose first step is number 0."""
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = scheduler(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def schedules():
    lr, total, lowest = torch.optim.lr_scheduler, 40, 0.05
    base = {"steps": total, "learning_rate": 1.0, "min_learning_rate": lowest}
    # Ours reaches the lowest rate at the last step, so step s is number s of theirs: the first of theirs is left out.
    shifted = lambda scheduler: scheduled(scheduler, total + 1)[1:]
    yield {**base, "schedule": "cosine"}, shifted(lambda o: lr.CosineAnnealingLR(o, total, eta_min=lowest))
    yield {**base, "schedule": "linear"}, shifted(lambda o: lr.LinearLR(o, 1.0, lowest, total))
    yield {**base, "schedule": "exponential"}, shifted(lambda o: lr.ExponentialLR(o, lowest ** (1 / total)))
    yield {**base, "schedule": "step", "decay_steps": 7, "decay_factor": 0.3}, scheduled(lambda o: lr.StepLR(o, 7, 0.3), total)
    one_cycle = lambda rise: lambda o: lr.OneCycleLR(
        o, 1.0, total_steps=total, pct_start=rise, final_div_factor=1 / 25 / lowest, cycle_momentum=False
    )
    yield {**base, "schedule": "one-cycle"}, scheduled(one_cycle(0.3), total)[:total]
    yield {**base, "schedule": "one-cycle", "warmup_steps": 8}, scheduled(one_cycle(0.2), total)[:total]

    def inverse_sqrt(warmup):
        scale = warmup or 10_000
        shift = scale - warmup
        return [s / warmup if s < warmup else 1 / math.sqrt((s + shift) / scale) for s in range(1, total + 1)]

    for warmup in [0, 6]:
        yield {**base, "schedule": "inverse-sqrt", "warmup_steps": warmup, "min_learning_rate": None}, inverse_sqrt(warmup)

    def stable_decay(warmup, stable, decay):
        def rate(s):
            if s < warmup:
                return s / warmup
            if s < warmup + stable:
                return 1.0
            return (1.0 - (s - warmup - stable) / decay) * (1.0 - lowest) + lowest

        return [rate(s) for s in range(1, total + 1)]

    yield {**base, "schedule": "wsd", "warmup_steps": 5, "decay_steps": 10}, stable_decay(5, 25, 10)


def main():
    torch.Tensor.bfloat16 = lambda tensor: tensor.clone()  # Muon's iteration in f32.
    golden = {
        "torch": torch.__version__,
        "optimizers": list(optimizers()),
        "schedules": [{"settings": settings, "rates": rates} for settings, rates in schedules()],
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
