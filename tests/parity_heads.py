#!/usr/bin/env python3
"""Heads of transformers and ours: the same logits from the same folder.

usage: parity_heads.py --golden FOLDER              writes tiny random models of transformers with their logits, for the Rust tests
       parity_heads.py [--mill-model PATH]          compares the same models, larger, with `mill-model logits`
       parity_heads.py [--mill-model PATH] FOLDER…  opens model folders of `train` with transformers and compares
Needs torch and transformers. Exit code 1 when logits differ by more than 1e-5, relative to the largest, or a weight is missing or left over.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers

LIMIT = 1e-5
CLASSES = {0: "a", 1: "b", 2: "c"}
PROBLEMS = {
    "class": {"problem_type": "single_label_classification", "id2label": CLASSES},
    "several": {"problem_type": "multi_label_classification", "id2label": CLASSES},
    "number": {"problem_type": "regression", "num_labels": 1},
}
MODELS = {
    **{f"bert-{name}": ("BertForSequenceClassification", more) for name, more in PROBLEMS.items()},
    **{f"gpt-{name}": ("GPT2ForSequenceClassification", more) for name, more in PROBLEMS.items()},
    "bert-tag": ("BertForTokenClassification", {"id2label": CLASSES}),
    "bert-answer": ("BertForQuestionAnswering", {}),
    "bert-pairs": ("BertForPreTraining", {}),
}


def model(architecture, more, width):
    """A random model, with biases and norms that are no zeros and ones."""
    torch.manual_seed(sum(map(ord, architecture + str(more))))
    more = {**more, "label2id": {label: number for number, label in more.get("id2label", {}).items()}} if "id2label" in more else more
    if architecture.startswith("Bert"):
        config = transformers.BertConfig(
            vocab_size=20, hidden_size=width, num_hidden_layers=2, num_attention_heads=2, intermediate_size=2 * width,
            max_position_embeddings=12, pad_token_id=0, **more)
    else:
        config = transformers.GPT2Config(
            vocab_size=20, n_embd=width, n_layer=2, n_head=2, n_positions=12, pad_token_id=0, bos_token_id=1, eos_token_id=1, **more)
    made = getattr(transformers, architecture)(config).eval()
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    if hasattr(made, "tie_weights"):
        made.tie_weights()
    return made


def batch(config):
    """Ids without and with padding at the end, and segments of BERT."""
    torch.manual_seed(7)
    ids = torch.randint(2, config.vocab_size, (3, 9))
    if config.model_type == "bert":
        return {"input_ids": ids, "token_type_ids": (torch.arange(9) > 4).long().expand(3, 9)}
    ids[1, 6:] = config.pad_token_id if config.pad_token_id is not None else ids[1, 6:]
    return {"input_ids": ids}


def theirs(made, inputs):
    """Logits in our shapes: (batch, …), and those of pairs of segments."""
    with torch.no_grad():
        found = made(**inputs)
    if "start_logits" in found:
        return torch.stack([found.start_logits, found.end_logits], -1), None
    if "prediction_logits" in found:
        return found.prediction_logits, found.seq_relationship_logits
    return found.logits, None


def ours(program, folder, inputs):
    segments = inputs.get("token_type_ids")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"ids": inputs["input_ids"].tolist(), "segments": None if segments is None else segments.tolist()}, file)
        file.flush()
        answer = json.loads(subprocess.run([program, "logits", folder, file.name], check=True, stdout=subprocess.PIPE).stdout)
    tensor = lambda part: torch.tensor(part["values"]).reshape(part["shape"])
    return tensor(answer), tensor(answer["pairs"]) if "pairs" in answer else None


def compare(name, expected, found):
    worst = 0.0
    for theirs_, ours_ in zip(expected, found):
        assert (theirs_ is None) == (ours_ is None), name
        if theirs_ is not None:
            worst = max(worst, ((ours_ - theirs_).abs().max() / theirs_.abs().max().clamp(min=1.0)).item())
    print(f"{name}: transformers {transformers.__version__}, largest difference {worst:.1e}")
    return worst


def write_golden(folder):
    for name, (architecture, more) in MODELS.items():
        path = os.path.join(folder, name)
        made = model(architecture, more, 8)
        made.save_pretrained(path)
        inputs = batch(made.config)
        logits, pairs = theirs(made, inputs)
        golden = {"input": {"ids": inputs["input_ids"].tolist()}, "logits": logits.flatten().tolist()}
        if "token_type_ids" in inputs:
            golden["input"]["segments"] = inputs["token_type_ids"].tolist()
        if pairs is not None:
            golden["pairs"] = pairs.flatten().tolist()
        with open(os.path.join(path, "golden.json"), "w") as file:
            json.dump(golden, file)
        generation = os.path.join(path, "generation_config.json")
        if os.path.exists(generation):
            os.remove(generation)


def check_folder(program, folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    made, info = getattr(transformers, config.architectures[0]).from_pretrained(folder, output_loading_info=True)
    wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if wrong:
        raise SystemExit(f"{folder}: {wrong}")
    inputs = batch(config)
    return compare(f"{folder}: {config.architectures[0]}", theirs(made.eval(), inputs), ours(program, folder, inputs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mill-model", default="mill-model", help="the program mill-model")
    parser.add_argument("--golden", metavar="FOLDER", help="write the golden files and nothing else")
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.golden:
        return write_golden(arguments.golden)
    if arguments.folders:
        worst = max(check_folder(arguments.mill_model, folder) for folder in arguments.folders)
    else:
        worst = 0.0
        for name, (architecture, more) in MODELS.items():
            with tempfile.TemporaryDirectory() as folder:
                made = model(architecture, more, 64)
                made.save_pretrained(folder)
                inputs = batch(made.config)
                worst = max(worst, compare(name, theirs(made, inputs), ours(arguments.mill_model, folder, inputs)))
    if worst > LIMIT:
        sys.exit(f"logits differ by {worst:.1e}, allowed are {LIMIT:.0e}")


if __name__ == "__main__":
    main()
