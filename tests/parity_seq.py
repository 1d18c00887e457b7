#!/usr/bin/env python3
"""Recurrent and encoder–decoder networks beside PyTorch and transformers.

usage: parity_seq.py golden FOLDER            writes tiny random networks with their logits and beam searches, for the tests of the crate torch
       parity_seq.py check [--mill-model PATH] MODEL-FOLDER…
           opens folders `model/` of artifacts of `train` (rnn, seq2seq) and compares logits with those of `mill-model logits`
       parity_seq.py speed [--cell lstm|gru|rnn] [--bf16]
           tokens/s of a training step of torch.nn's language model

Needs torch, and transformers for encoder–decoder networks. `check` ends with exit code 1 when logits differ by more than 1e-5 of the largest.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import torch

LIMIT = 1e-5
VOCABULARY, WIDTH, LAYERS = 30, 8, 2
SOURCE = [[5, 9, 14, 3, 22, 7, 11, 29, 6, 1], [8, 4, 17, 1, 0, 0, 0, 0, 0, 0]]
TARGET = [[0, 12, 6, 25, 9, 18], [0, 20, 13, 13, 2, 7]]


class Recurrent(torch.nn.Module):
    """The network that `model::Recurrent` describes."""

    def __init__(self, cell, vocabulary, width, layers, tied=True, dropout=0.0):
        super().__init__()
        kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
        self.embedding = torch.nn.Embedding(vocabulary, width)
        self.rnn = kind(width, width, layers, batch_first=True, dropout=dropout)
        self.output = torch.nn.Linear(width, vocabulary)
        self.dropout = torch.nn.Dropout(dropout)
        if tied:
            self.output.weight = self.embedding.weight

    def forward(self, ids, state=None):
        hidden, state = self.rnn(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(hidden)), state


def randomize(model, seed):
    """Values that make every part count."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.state_dict().items()):
            if value.is_floating_point() and "embed_positions" not in name:
                scale = 0.3 if "shared" in name or "lm_head" in name or "embedding" in name else 0.6
                value.copy_(torch.randn(value.shape, generator=generator) * scale + (1.0 if "norm" in name and "weight" in name else 0.0))
                if name == "final_logits_bias":
                    value[0, 1] = 1.0
    return model.eval()


def save_recurrent(model, cell, tied, folder):
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.clone().contiguous() for name, value in model.state_dict().items() if not (tied and name == "output.weight")}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["RecurrentLanguageModel"],
        "model_type": "corpusmill-rnn",
        "cell": cell,
        "num_layers": LAYERS,
        "hidden_size": WIDTH,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 1 << 20,
        "dropout": 0.0,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def seq2seq(name, seed):
    """A tiny random network of transformers."""
    import transformers

    common = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    if name.startswith("marian"):
        config = transformers.MarianConfig(
            d_model=WIDTH, encoder_layers=2, decoder_layers=3, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12,
            decoder_ffn_dim=12, max_position_embeddings=24, activation_function="swish" if name == "marian-swish" else "relu",
            scale_embedding=name == "marian", forced_eos_token_id=None, **common,
        )  # fmt: skip
        return randomize(transformers.MarianMTModel(config), seed)
    gated = name == "t5-gated"
    config = transformers.T5Config(
        d_model=WIDTH, d_kv=3, d_ff=12, num_layers=2, num_heads=2, relative_attention_num_buckets=8,
        relative_attention_max_distance=9, feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=not gated, **common,
    )  # fmt: skip
    return randomize(transformers.T5ForConditionalGeneration(config), seed)


def rounded(logits):
    return [[[round(value, 6) for value in place] for place in row] for row in logits.tolist()]


def searches(model, source):
    """Targets that greedy and beam search find, without what the decoder begins with and what ends or fills them."""
    found = []
    for beams, length_penalty in [(1, 1.0), (2, 1.0), (4, 1.0), (4, 0.2), (3, 2.0)]:
        more = {"length_penalty": length_penalty, "early_stopping": False} if beams > 1 else {}
        mask = (source != 0).long()
        ids = model.generate(input_ids=source, attention_mask=mask, num_beams=beams, do_sample=False, max_new_tokens=9, **more)
        rows = []
        for row in ids.tolist():
            row = row[1:]
            rows.append(row[: row.index(1)] if 1 in row else row)
        found.append({"beams": beams, "length_penalty": length_penalty, "targets": rows})
    return found


def untie(folder):
    """transformers 5 makes every new T5 a tied one; published folders of v1.1 have a matrix of their own, and say so."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state["shared.weight"].clone()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def golden(folder):
    folder = pathlib.Path(folder)
    source, target = torch.tensor(SOURCE), torch.tensor(TARGET)
    for cell, tied in [("lstm", True), ("gru", True), ("rnn", False)]:
        model = randomize(Recurrent(cell, VOCABULARY, WIDTH, LAYERS, tied), 3)
        save_recurrent(model, cell, tied, folder / cell)
        with torch.no_grad():
            logits, state = model(source)
            further, _ = model(target, state)
        expected = {"source": SOURCE, "target": TARGET, "logits": rounded(logits), "further": rounded(further)}
        (folder / cell / "expected.json").write_text(json.dumps(expected) + "\n")
    for name in ["marian", "marian-swish", "t5", "t5-gated"]:
        # Networks whose searches differ, and end by themselves now and then.
        for seed in range(12):
            model = seq2seq(name, seed)
            found = [search["targets"] for search in searches(model, source)]
            lengths = [len(target) for targets in found for target in targets]
            if len(set(map(str, found))) >= 3 and min(lengths) < 9 and max(lengths) > 2:
                break
        print(name, seed, found, flush=True)
        model.save_pretrained(folder / name)
        (folder / name / "generation_config.json").unlink(missing_ok=True)
        if name == "t5-gated":
            untie(folder / name)
        with torch.no_grad():
            logits = model(input_ids=source, attention_mask=(source != 0).long(), decoder_input_ids=target).logits
        expected = {"source": SOURCE, "target": TARGET, "logits": rounded(logits), "searches": searches(model, source)}
        (folder / name / "expected.json").write_text(json.dumps(expected) + "\n")


def ours(program, folder, ids):
    """Logits of `mill-model`."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(ids, file)
        file.flush()
        answer = json.loads(subprocess.run([program, "logits", folder, file.name], check=True, stdout=subprocess.PIPE).stdout)
    return torch.tensor(answer["values"]).reshape(answer["shape"])


def check(program, folder):
    """The largest difference of any logit, beside the largest logit."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    generator = torch.Generator().manual_seed(7)
    source = torch.randint(3, config["vocab_size"], (2, 40), generator=generator)
    target = torch.randint(3, config["vocab_size"], (2, 30), generator=generator)
    target[:, 0] = config["pad_token_id"] or 0
    if config["model_type"] == "corpusmill-rnn":
        from safetensors.torch import load_file

        model = Recurrent(config["cell"], config["vocab_size"], config["hidden_size"], config["num_layers"], config["tie_word_embeddings"])
        missing, unexpected = model.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"), strict=False)
        if unexpected or set(missing) - ({"output.weight"} if config["tie_word_embeddings"] else set()):
            raise SystemExit(f"{folder}: missing {missing}, unexpected {unexpected}")
        with torch.no_grad():
            theirs = model.eval()(source)[0]
        found, version = ours(program, folder, source.tolist()), f"torch {torch.__version__}"
    else:
        import transformers

        model, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
        wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
        if wrong:
            raise SystemExit(f"{folder}: {wrong}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model.eval().generate(**tokenizer("a text", return_tensors="pt", return_token_type_ids=False), max_new_tokens=4)
        with torch.no_grad():
            theirs = model(input_ids=source, decoder_input_ids=target).logits
        found, version = ours(program, folder, {"source": source.tolist(), "target": target.tolist()}), f"transformers {transformers.__version__}"
    difference, largest = (found - theirs).abs().max().item(), theirs.abs().max().item()
    print(f"{folder}: {config['model_type']}, {version}, largest difference of logits {difference:.2e}, largest logit {largest:.2f}")
    return difference / max(largest, 1.0)


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
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden").add_argument("folder")
    checks = commands.add_parser("check")
    checks.add_argument("--mill-model", default="mill-model", help="the program mill-model")
    checks.add_argument("folders", nargs="+", metavar="MODEL-FOLDER")
    speeds = commands.add_parser("speed")
    speeds.add_argument("--cell", default="lstm", choices=["lstm", "gru", "rnn"])
    speeds.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "golden":
        golden(arguments.folder)
    elif arguments.command == "speed":
        speed(arguments.cell, arguments.bf16)
    else:
        worst = max(check(arguments.mill_model, folder) for folder in arguments.folders)
        if worst > LIMIT:
            sys.exit(f"logits differ by {worst:.2e}, allowed are {LIMIT:.0e}")


if __name__ == "__main__":
    main()
