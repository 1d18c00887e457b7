#!/usr/bin/env python3
"""Compares networks with those of transformers, in both directions.

usage: parity.py [--bin FOLDER]                trains tiny networks of every style and opens them with transformers; makes random ones
                                               with transformers, in one file and in parts, and opens them with mill-model
       parity.py [--bin FOLDER] MODEL-FOLDER…  compares these folders: `model/` of an artifact of `train`, or any that transformers opens
       parity.py --golden FOLDER               writes configs and logits of transformers for the unit tests

Needs torch, transformers, numpy and the built programs `mill` and `mill-model` (default folder: target/release).
Exit code 1 when logits or hidden states differ by more than 1e-5, a weight is missing, or a tokenizer does not open.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

LIMIT = 1e-5
TEXTS = ["The quick brown fox jumps over the lazy dog.", "今天天气很好, 我们去公园散步吧。", "  Numbers: 3.14, 2,000 and 42!\n\nA new line."]
CLASSES = {
    "GPT2LMHeadModel": transformers.AutoModelForCausalLM,
    "LlamaForCausalLM": transformers.AutoModelForCausalLM,
    "Qwen3ForCausalLM": transformers.AutoModelForCausalLM,
    "BertForMaskedLM": transformers.AutoModelForMaskedLM,
    "ModernBertForMaskedLM": transformers.AutoModelForMaskedLM,
    "BertForSequenceClassification": transformers.AutoModelForSequenceClassification,
    "ModernBertForSequenceClassification": transformers.AutoModelForSequenceClassification,
}

# What `train` is asked for, by the architecture that it must save as.
STYLES = {
    "gpt2": ('family = "gpt"', "GPT2LMHeadModel"),
    "gpt2_untied": ('family = "gpt", tied = false', "GPT2LMHeadModel"),
    "llama": ('family = "gpt", style = "llama", kv_heads = 2, rope_theta = 5e5', "LlamaForCausalLM"),
    "llama_tied": ('family = "gpt", style = "llama", tied = true, head_width = 6', "LlamaForCausalLM"),
    "qwen3": ('family = "gpt", style = "qwen3", kv_heads = 1, head_width = 16', "Qwen3ForCausalLM"),
    "bert": ('family = "bert"', "BertForMaskedLM"),
    "modernbert": (
        'family = "bert", style = "modernbert", layers = 5, local_attention = 8, global_attention_every = 2',
        "ModernBertForMaskedLM",
    ),
}


def ours(arguments, what, folder, rows):
    """Logits or hidden states of `mill-model` for rows of ids."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(rows, file)
        file.flush()
        command = [f"{arguments.bin}/mill-model", what, folder, file.name]
        answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return torch.tensor(answer["values"]).reshape(answer["shape"])


def forward(model, rows):
    """What a network of transformers says of rows without padding."""
    ids = torch.tensor(rows)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids))


def rows_of(folder, config):
    """Rows of ids to compare: texts where there is a tokenizer, and random ids up to the longest input that is sensible."""
    generator = torch.Generator().manual_seed(1)
    length = min(config.max_position_embeddings, 200)
    rows = [torch.randint(config.vocab_size, (2, length), generator=generator).tolist()]
    if (pathlib.Path(folder) / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rows += [[tokenizer(text, truncation=True)["input_ids"]] for text in TEXTS]
        if "token_type_ids" in tokenizer.model_input_names:
            assert "token_type_ids" in tokenizer(TEXTS[0], TEXTS[1])
    return rows


def check(arguments, folder):
    """The largest difference of any logit (hidden state, for networks without a head), over all rows."""
    config = transformers.AutoConfig.from_pretrained(folder)
    architecture = config.architectures[0]
    bare = architecture not in CLASSES
    model, info = CLASSES.get(architecture, transformers.AutoModel).from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if wrong and not bare:
        raise SystemExit(f"{folder}: {wrong}")
    model.eval()
    worst = 0.0
    for rows in rows_of(folder, config):
        with torch.no_grad():
            output = forward(model, rows)
        theirs = output.last_hidden_state if bare else output.logits
        worst = max(worst, (ours(arguments, "hidden" if bare else "logits", folder, rows) - theirs).abs().max().item())
    if architecture.endswith(("LMHeadModel", "CausalLM")) and (pathlib.Path(folder) / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model.generate(**tokenizer(TEXTS[0], return_tensors="pt"), max_new_tokens=4)
    what = "hidden states" if bare else "logits"
    print(f"{folder}: {architecture}, transformers {transformers.__version__}, largest difference of {what} {worst:.2e}", flush=True)
    return worst


def train(arguments, folder):
    """Trains a network of every style for two steps; gives their folders."""
    texts = [{"text": f"{TEXTS[n % 3]} Sentence {n} of many, with {n * 37 % 101} words or so."} for n in range(400)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    steps = ['[[step]]\nstage = "import"\npaths = ["texts.jsonl"]\n\n[[step]]\nstage = "split"\nparts = { train = 1.0 }\n']
    for kind, model in [("byte-level-bpe", "causal"), ("wordpiece", "masked")]:
        steps.append(f'[[step]]\nstage = "learn-tokenizer"\nname = "{model}_tokenizer"\nkind = "{kind}"\nvocabulary_size = 400\n')
        inputs = f'inputs = {{ tokenizer = "{model}_tokenizer", documents = "split" }}'
        steps.append(f'[[step]]\nstage = "tokenize"\nname = "{model}"\nmodel = "{model}"\nsequence_length = 64\n{inputs}\n')
    for name, (options, architecture) in STYLES.items():
        causal = architecture.endswith(("LMHeadModel", "CausalLM"))
        tokens = "causal" if causal else "masked"
        inputs = f'inputs = {{ tokens = "{tokens}", tokenizer = "{tokens}_tokenizer" }}'
        layers = "" if "layers" in options else ", layers = 2"
        options = f"model = {{ {options}{layers}, width = 32, heads = 4 }}"
        steps.append(f'[[step]]\nstage = "train"\nname = "{name}"\n{options}\nsteps = 20\nlearning_rate = 0.02\n{inputs}\n')
    (folder / "x.toml").write_text("\n".join(steps))
    subprocess.run([f"{arguments.bin}/mill", "run", str(folder / "x.toml"), "--quiet"], check=True)
    for name, (_, architecture) in STYLES.items():
        model = folder / "runs/x/steps" / name / "model"
        assert json.loads((model / "config.json").read_text())["architectures"] == [architecture]
        yield str(model)


def configs():
    """Tiny networks of transformers, with settings that are not the default ones."""
    sizes = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=56, vocab_size=90, max_position_embeddings=48)
    special = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    quiet = dict(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    gpt2 = dict(n_embd=32, n_layer=3, n_head=4, vocab_size=90, n_positions=48, layer_norm_epsilon=1e-6, **quiet)
    return {
        "gpt2": transformers.GPT2Config(**gpt2, **special),
        "llama": transformers.LlamaConfig(**sizes, num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=5e5, **special),
        "qwen3": transformers.Qwen3Config(**sizes, num_key_value_heads=1, head_dim=6, tie_word_embeddings=True, **special),
        "bert": transformers.BertConfig(**sizes, layer_norm_eps=1e-6, **special),
        "modernbert": transformers.ModernBertConfig(**sizes, local_attention=8, global_attn_every_n_layers=2, **special),
    }


def network(config):
    """The network of a config with a language model's head."""
    causal = config.model_type in ("gpt2", "llama", "qwen3")
    automatic = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    torch.manual_seed(3)
    return automatic.from_config(config, attn_implementation="sdpa").eval()


def random(folder):
    """Folders of random networks that transformers saves: whole, in parts, and without a head."""
    for name, config in configs().items():
        model = network(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        for kind, saved, size in [("whole", model, "1GB"), ("parts", model, "20KB"), ("bare", model.base_model, "1GB")]:
            path = str(folder / f"{name}-{kind}")
            saved.save_pretrained(path, max_shard_size=size)
            yield path


def golden(folder):
    """Configs, and logits for weights that a formula gives, so that the unit tests need no weights."""
    for name, config in configs().items():
        model = network(config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                start = sum(byte * (i + 1) for i, byte in enumerate(parameter_name.encode())) % 1000
                values = 0.1 * numpy.sin(numpy.arange(parameter.numel()) * 0.7548776662 + start)
                values += 1.0 if parameter.dim() == 1 and parameter_name.endswith("weight") else 0.0
                parameter.copy_(torch.tensor(values.astype(numpy.float32)).reshape(parameter.shape))
            ids = [[(7 * i + 13 * row) % 90 for i in range(20)] for row in range(2)]
            logits = forward(model, ids).logits[:, -3:]
        config.architectures = [type(model).__name__]
        values = [round(value, 6) for value in logits.reshape(-1).tolist()]
        text = json.dumps({"config": config.to_dict(), "ids": ids, "last_logits": values})
        (folder / f"{name}.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release", help="the folder of mill and mill-model")
    parser.add_argument("--golden", type=pathlib.Path, help="write the files of the unit tests into this folder")
    parser.add_argument("folders", nargs="*", metavar="MODEL-FOLDER")
    arguments = parser.parse_args()
    if arguments.golden:
        return golden(arguments.golden)
    if arguments.folders:
        worst = max(check(arguments, folder) for folder in arguments.folders)
    else:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            worst = max(check(arguments, path) for path in [*train(arguments, folder), *random(folder)])
    if worst > LIMIT:
        sys.exit(f"values differ by {worst:.2e}, allowed are {LIMIT:.0e}")


if __name__ == "__main__":
    main()
