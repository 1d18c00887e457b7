#!/usr/bin/env python3
"""Opens model folders with transformers and compares their logits with ours.

usage: parity.py [--mill-model PATH] MODEL-FOLDER…
A model folder is the folder `model/` of an artifact of `train`. Needs torch and transformers, and the built program `mill-model`.
Exit code 1 when logits differ by more than 1e-4, a weight is missing, or the tokenizer does not open.
"""
import argparse
import json
import subprocess
import sys
import tempfile

import torch
import transformers

LIMIT = 1e-4
TEXTS = ["The quick brown fox jumps over the lazy dog.", "今天天气很好, 我们去公园散步吧。", "  Numbers: 3.14, 2,000 and 42!\n\nA new line."]
CLASSES = {
    "GPT2LMHeadModel": transformers.AutoModelForCausalLM,
    "BertForMaskedLM": transformers.AutoModelForMaskedLM,
    "BertForSequenceClassification": transformers.AutoModelForSequenceClassification,
}


def ours(program, folder, ids):
    """Logits of `mill-model` for one row of ids."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([ids], file)
        file.flush()
        answer = json.loads(subprocess.run([program, "logits", folder, file.name], check=True, stdout=subprocess.PIPE).stdout)
    return torch.tensor(answer["values"]).reshape(answer["shape"])


def check(program, folder):
    """The largest difference of any logit, over all texts."""
    config = transformers.AutoConfig.from_pretrained(folder)
    architecture = config.architectures[0]
    model, info = CLASSES[architecture].from_pretrained(folder, output_loading_info=True)
    wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if wrong:
        raise SystemExit(f"{folder}: {wrong}")
    model.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    worst = 0.0
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            theirs = model(**encoded).logits
        worst = max(worst, (ours(program, folder, encoded["input_ids"][0].tolist()) - theirs).abs().max().item())
    if architecture == "GPT2LMHeadModel":
        model.generate(**tokenizer(TEXTS[0], return_tensors="pt"), max_new_tokens=4)
    print(f"{folder}: {architecture}, transformers {transformers.__version__}, largest difference of logits {worst:.2e}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mill-model", default="mill-model", help="the program mill-model")
    parser.add_argument("folders", nargs="+", metavar="MODEL-FOLDER")
    arguments = parser.parse_args()
    worst = max(check(arguments.mill_model, folder) for folder in arguments.folders)
    if worst > LIMIT:
        sys.exit(f"logits differ by {worst:.2e}, allowed are {LIMIT:.0e}")


if __name__ == "__main__":
    main()
