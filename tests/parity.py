#!/usr/bin/env python3
"""Compares networks with those of transformers, in both directions.

usage: parity.py [--bin FOLDER]                trains tiny networks of every style and head and opens them with transformers; makes random ones
                                               with transformers, in one file, in parts and without a head, and opens them with mill-model
       parity.py [--bin FOLDER] MODEL-FOLDER…  compares these folders: `model/` of an artifact of `train`, or any that transformers opens
       parity.py --golden                      writes what the unit tests compare with (parity_networks.py)

Needs torch, transformers, numpy, safetensors and the built programs `mill` and `mill-model` (default folder: target/release).
Exit code 1 when logits or hidden states differ by more than 1e-5 of the largest (or of 1), a weight is missing or left over, labels, kinds of
problems or defaults of generation are not what was trained, or predictions differ.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

import parity_networks as networks

LIMIT = 1e-5
# Of the rows of all tokens; a T5, which has no longest input, does not say so.
SEQUENCE_LENGTH = 64
TEXTS = ["The quick brown fox jumps over the lazy dog.", "今天天气很好, 我们去公园散步吧。", "  Numbers: 3.14, 2,000 and 42!\n\nA new line."]
AUTOMATIC = {
    "LMHeadModel": transformers.AutoModelForCausalLM,
    "CausalLM": transformers.AutoModelForCausalLM,
    "MaskedLM": transformers.AutoModelForMaskedLM,
    "PreTraining": transformers.AutoModelForPreTraining,
    "SequenceClassification": transformers.AutoModelForSequenceClassification,
    "TokenClassification": transformers.AutoModelForTokenClassification,
    "QuestionAnswering": transformers.AutoModelForQuestionAnswering,
    "MTModel": transformers.AutoModelForSeq2SeqLM,
    "ConditionalGeneration": transformers.AutoModelForSeq2SeqLM,
}

# What `train` is asked for: tokens, network, the architecture that it must save as, the kind of problem.
LLAMA, QWEN = 'family = "gpt", style = "llama"', 'family = "gpt", style = "qwen3"'
MODERN = 'family = "bert", style = "modernbert", layers = 5, local_attention = 8, global_attention_every = 2'
T5 = 'family = "seq2seq", seq2seq = { style = "t5"'
ONE, SEVERAL, NUMBER = "single_label_classification", "multi_label_classification", "regression"
NETWORKS = {
    "gpt2": ("causal", 'family = "gpt"', "GPT2LMHeadModel", None),
    "gpt2_untied": ("causal", 'family = "gpt", tied = false', "GPT2LMHeadModel", None),
    "llama": ("causal", LLAMA + ", kv_heads = 2, rope_theta = 5e5", "LlamaForCausalLM", None),
    "llama_tied": ("causal", LLAMA + ", tied = true, head_width = 6", "LlamaForCausalLM", None),
    "qwen3": ("causal", QWEN + ", kv_heads = 1, head_width = 16", "Qwen3ForCausalLM", None),
    "bert": ("masked", 'family = "bert"', "BertForMaskedLM", None),
    "modernbert": ("masked", MODERN, "ModernBertForMaskedLM", None),
    "lstm": ("causal", 'family = "rnn"', "RecurrentLanguageModel", None),
    "gru_untied": ("causal", 'family = "rnn", rnn = { cell = "gru", tied = false }', "RecurrentLanguageModel", None),
    "bert_class": ("editions", 'family = "bert"', "BertForSequenceClassification", ONE),
    "bert_several": ("several", 'family = "bert"', "BertForSequenceClassification", SEVERAL),
    "bert_number": ("numbers", 'family = "bert"', "BertForSequenceClassification", NUMBER),
    "bert_tags": ("entities", 'family = "bert"', "BertForTokenClassification", None),
    "bert_answers": ("questions", 'family = "bert"', "BertForQuestionAnswering", None),
    "bert_order": ("orders", 'family = "bert"', "BertForPreTraining", None),
    "bert_next": ("nexts", 'family = "bert"', "BertForPreTraining", None),
    "modernbert_class": ("single", MODERN, "ModernBertForSequenceClassification", ONE),
    "modernbert_number": ("numbers", MODERN, "ModernBertForSequenceClassification", NUMBER),
    "modernbert_tags": ("entities", MODERN, "ModernBertForTokenClassification", None),
    "modernbert_answers": ("questions", MODERN, "ModernBertForQuestionAnswering", None),
    "gpt2_class": ("causal_single", 'family = "gpt"', "GPT2ForSequenceClassification", ONE),
    "gpt2_several": ("causal_several", 'family = "gpt"', "GPT2ForSequenceClassification", SEVERAL),
    "gpt2_number": ("causal_numbers", 'family = "gpt"', "GPT2ForSequenceClassification", NUMBER),
    "gpt2_tags": ("causal_entities", 'family = "gpt"', "GPT2ForTokenClassification", None),
    "llama_tags": ("causal_entities", LLAMA + ", kv_heads = 2", "LlamaForTokenClassification", None),
    "qwen3_tags": ("causal_entities", QWEN, "Qwen3ForTokenClassification", None),
    "gpt2_answers": ("causal_questions", 'family = "gpt"', "GPT2ForQuestionAnswering", None),
    "llama_answers": ("causal_questions", LLAMA, "LlamaForQuestionAnswering", None),
    "llama_class": ("causal_single", LLAMA, "LlamaForSequenceClassification", ONE),
    "qwen3_number": ("causal_numbers", QWEN, "Qwen3ForSequenceClassification", NUMBER),
    "marian": ("sentences", 'family = "seq2seq"', "MarianMTModel", None),
    "marian_swish": ("sentences", 'family = "seq2seq", seq2seq = { activation = "swish", decoder_layers = 1 }', "MarianMTModel", None),
    "t5": ("sentences", T5 + " }", "T5ForConditionalGeneration", None),
    "t5_gated": ("sentences", T5 + ', activation = "gated-gelu", tied = false }', "T5ForConditionalGeneration", None),
    "t5_denoise": ("spans", T5 + " }", "T5ForConditionalGeneration", None),
    "t5_class": ("decoded_editions", T5 + " }", "T5ForSequenceClassification", ONE),
    "t5_several": ("decoded_several", T5 + ', activation = "gated-gelu", tied = false }', "T5ForSequenceClassification", SEVERAL),
    "t5_number": ("decoded_numbers", T5 + ", decoder_layers = 1 }", "T5ForSequenceClassification", NUMBER),
    "t5_tags": ("decoded_entities", T5 + " }", "T5ForTokenClassification", None),
    "t5_answers": ("decoded_questions", T5 + " }", "T5ForQuestionAnswering", None),
}
TRANSLATORS = [name for name, (tokens, *_) in NETWORKS.items() if tokens == "sentences"]
# Networks whose texts, cut and framed by the tokenizer of the folder, must get what `predict` said.
OF_TEXTS = ["bert_class", "bert_several", "bert_number", "modernbert_class", "gpt2_class", "gpt2_several", "gpt2_number", "llama_class"]
OF_TEXTS += ["t5_class", "t5_several", "t5_number"]

DOCUMENTS = """
root = "ROOT"
workspace = "FOLDER/runs"

[[step]]
stage = "import"
name = "poems"
paths = ["data-samples/text/tang-poems.jsonl.zst"]
columns = { title = "string", edition = "string" }

[[step]]
stage = "import"
name = "tagged"
paths = ["data-samples/tags/hironsan.jsonl.zst"]
columns = { words = "string", tags = "string" }

[[step]]
stage = "import"
name = "pairs"
paths = ["data-samples/translation/help-zh-en.jsonl.zst"]
text = "zh"
columns = { en = "string" }

[[step]]
stage = "import"
name = "made"
paths = ["FOLDER/made.jsonl"]
columns = { kind = "string", kinds = "string", score = "float", question = "string", answer = "string", begin = "string" }
"""
TOKENIZERS = {
    "wordpiece": 'kind = "wordpiece"\nvocabulary_size = 2000\ninputs = { documents = "poems" }',
    "bpe": 'kind = "byte-level-bpe"\nvocabulary_size = 400\ninputs = { documents = "made" }',
    "unigram": 'kind = "unigram"\nstyle = "t5"\nvocabulary_size = 3000\ninputs = { documents = "pairs" }\n'
    'special_tokens = ["<pad>", "</s>", "<unk>", "<extra_id_0>", "<extra_id_1>", "<extra_id_2>", "<extra_id_3>", "<extra_id_4>"]',
}
# Documents, tokenizer and settings by the name of the tokens.
TOKENS = {
    "causal": ("made", "bpe", 'model = "causal"'),
    "masked": ("made", "wordpiece", 'model = "masked"'),
    "spans": ("pairs", "unigram", 'model = "causal"'),
    "editions": ("poems", "wordpiece", 'model = "masked"\nlayout = "classify"\ntext_pair = "title"\nlabel = "edition"'),
    "single": ("made", "wordpiece", 'model = "masked"\nlayout = "classify"\nlabel = "kind"'),
    "several": ("made", "wordpiece", 'model = "masked"\nlayout = "classify"\nlabel = "kinds"\nlabel_type = "multi-label"'),
    "numbers": ("made", "wordpiece", 'model = "masked"\nlayout = "classify"\nlabel = "score"\nlabel_type = "number"'),
    "entities": ("tagged", "wordpiece", 'model = "masked"\nlayout = "tag"\nwords = "words"\ntags = "tags"'),
    "questions": (
        "made",
        "wordpiece",
        'model = "masked"\nlayout = "answer"\nquestion = "question"\nanswer = "answer"\nanswer_start = "begin"\nquestion_length = 16\nstride = 16',
    ),
    "causal_questions": (
        "made",
        "bpe",
        'model = "causal"\nlayout = "answer"\nquestion = "question"\nanswer = "answer"\nanswer_start = "begin"\nquestion_length = 16\nstride = 16',
    ),
    "orders": ("poems", "wordpiece", 'model = "masked"\nlayout = "pairs"\nobjective = "sentence-order"'),
    "nexts": ("poems", "wordpiece", 'model = "masked"\nlayout = "pairs"\nobjective = "next-sentence"'),
    "causal_single": ("made", "bpe", 'model = "causal"\nlayout = "classify"\nlabel = "kind"'),
    "causal_several": ("made", "bpe", 'model = "causal"\nlayout = "classify"\nlabel = "kinds"\nlabel_type = "multi-label"'),
    "causal_numbers": ("made", "bpe", 'model = "causal"\nlayout = "classify"\nlabel = "score"\nlabel_type = "number"'),
    "causal_entities": ("tagged", "bpe", 'model = "causal"\nlayout = "tag"\nwords = "words"\ntags = "tags"'),
    "sentences": ("pairs", "unigram", 'model = "encoder-decoder"\nlayout = "translate"\nsource = "text"\ntarget = "en"\ntoo_long = "cut"'),
}
for name in ("editions", "several", "numbers", "entities", "questions"):
    documents, _, settings = TOKENS[name]
    TOKENS[f"decoded_{name}"] = (documents, "unigram", settings.replace('"masked"', '"encoder-decoder"'))


def step(stage, name, *settings):
    return "\n".join(["[[step]]", f'stage = "{stage}"', f'name = "{name}"', *settings, ""])


def written(folder):
    """A config that trains every network for some steps, and predicts with those whose predictions are compared."""
    made = []
    for n in range(400):
        text = f"{TEXTS[n % 3]} Sentence {n} of many, with {n * 37 % 101} words or so."
        answer = f"{n * 37 % 101} words"
        labels = {"kind": ["short", "long", "none"][n % 3], "kinds": ["a", "b", "c"][: n % 4], "score": n % 7 / 2}
        made.append({"text": text, "question": f"How many in {n}?", "answer": [answer], "begin": [text.index(answer)], **labels})
    (folder / "made.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in made))
    steps = [DOCUMENTS.replace("ROOT", str(networks.ROOT)).replace("FOLDER", str(folder))]
    steps += [step("learn-tokenizer", name, settings) for name, settings in TOKENIZERS.items()]
    for name, (documents, tokenizer, settings) in TOKENS.items():
        inputs = f'inputs = {{ documents = "{documents}", tokenizer = "{tokenizer}" }}'
        steps.append(step("tokenize", name, settings, f"sequence_length = {SEQUENCE_LENGTH}", inputs))
    for name, (tokens, options, _, _) in NETWORKS.items():
        layers = "" if " layers" in options else ", layers = 2"
        heads = "" if "rnn" in options else ", heads = 4"
        inputs = f'inputs = {{ tokens = "{tokens}", tokenizer = "{TOKENS[tokens][1]}" }}'
        steps.append(step("train", name, f"model = {{ {options}{layers}, width = 32{heads} }}", "steps = 20\nlearning_rate = 0.02", inputs))
    for name in OF_TEXTS + TRANSLATORS:
        for beams in [1, 4] if name in TRANSLATORS else [1]:
            search = f"beams = {beams}\nmax_new_tokens = 8\n" if name in TRANSLATORS else ""
            inputs = f'inputs = {{ model = "{name}", tokens = "{NETWORKS[name][0]}" }}'
            steps.append(step("predict", f"{name}_said{beams}", f'split = "train"\nlimit = 12\n{search}{inputs}'))
    (folder / "x.toml").write_text("\n".join(steps))


def ours(arguments, what, folder, rows):
    """Logits or hidden states of `mill-model` for rows of ids, or for inputs of heads."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(rows, file)
        file.flush()
        command = [f"{arguments.bin}/mill-model", what, folder, file.name]
        answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    tensor = lambda part: torch.tensor(part["values"]).reshape(part["shape"])
    return tensor(answer), tensor(answer["pairs"]) if "pairs" in answer else None


def difference(found, expected):
    """The largest difference as a share of the largest value, or of 1."""
    pairs = [(a, b) for a, b in zip(found, expected) if b is not None]
    assert all(a is not None and a.shape == b.shape for a, b in pairs), [(None if a is None else a.shape, b.shape) for a, b in pairs]
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1.0)).item() for a, b in pairs)


def opened(folder):
    """The network of a folder, every weight of which is there and used."""
    config = transformers.AutoConfig.from_pretrained(folder)
    ending = next((ending for ending in AUTOMATIC if config.architectures[0].endswith(ending)), None)
    automatic = AUTOMATIC.get(ending, transformers.AutoModel)
    model, info = automatic.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if wrong and ending is not None:
        raise SystemExit(f"{folder}: {wrong}")
    assert ending is None or type(model).__name__ == config.architectures[0], type(model)
    return model.eval(), ending


def language_rows(folder, config):
    """Rows of ids: texts where there is a tokenizer, and random ids up to the longest input that is sensible."""
    generator = torch.Generator().manual_seed(1)
    length = min(config.max_position_embeddings, 200)
    rows = [torch.randint(config.vocab_size, (2, length), generator=generator).tolist()]
    if (pathlib.Path(folder) / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rows += [[tokenizer(text, truncation=True)["input_ids"]] for text in TEXTS]
        if "token_type_ids" in tokenizer.model_input_names:
            assert "token_type_ids" in tokenizer(TEXTS[0], TEXTS[1])
    return rows


def check_language(arguments, folder, model, ending):
    """Language models and networks without a head."""
    worst = 0.0
    for rows in language_rows(folder, model.config):
        ids = torch.tensor(rows)
        with torch.no_grad():
            output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        theirs = output.logits if ending else output.last_hidden_state
        worst = max(worst, difference(ours(arguments, "logits" if ending else "hidden", folder, rows), (theirs, None)))
    if ending in ("LMHeadModel", "CausalLM") and (pathlib.Path(folder) / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model.generate(**tokenizer(TEXTS[0], return_tensors="pt"), max_new_tokens=4)
    return worst


def check_seq2seq(arguments, folder, model):
    config = model.config
    generator = torch.Generator().manual_seed(7)
    longest = getattr(config, "max_position_embeddings", 40)  # T5 has no limit
    source = torch.randint(3, config.vocab_size, (2, min(longest, 40)), generator=generator)
    target = torch.randint(3, config.vocab_size, (2, min(longest, 30)), generator=generator)
    target[:, 0] = config.decoder_start_token_id
    with torch.no_grad():
        theirs = model(input_ids=source, decoder_input_ids=target).logits
    if (pathlib.Path(folder) / "generation_config.json").exists():
        defaults = transformers.GenerationConfig.from_pretrained(folder)
        for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
            assert getattr(defaults, key) is not None and getattr(defaults, key) == getattr(config, key), f"{folder}: {key}"
    return difference(ours(arguments, "logits", folder, {"source": source.tolist(), "target": target.tolist()}), (theirs, None))


def check_recurrent(arguments, folder, config):
    model = networks.Recurrent(config["cell"], config["vocab_size"], config["hidden_size"], config["num_layers"], config["tie_word_embeddings"])
    missing, unexpected = model.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"), strict=False)
    if unexpected or set(missing) - ({"output.weight"} if config["tie_word_embeddings"] else set()):
        raise SystemExit(f"{folder}: missing {missing}, unexpected {unexpected}")
    ids = torch.randint(3, config["vocab_size"], (2, 40), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        theirs, _ = model.eval()(ids)
    return difference(ours(arguments, "logits", folder, ids.tolist()), (theirs, None))


def check(arguments, folder):
    """The largest difference of any logit (hidden state, for networks without a head), over all rows."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    if config["model_type"] == "corpusmill-rnn":
        worst = check_recurrent(arguments, folder, config)
    else:
        model, ending = opened(folder)
        if ending in ("MTModel", "ConditionalGeneration"):
            worst = check_seq2seq(arguments, folder, model)
        elif ending in ("LMHeadModel", "CausalLM", "MaskedLM", None):
            worst = check_language(arguments, folder, model, ending)
        else:
            inputs = networks.batch(model.config)
            segments = inputs.get("token_type_ids")
            rows = {"ids": inputs["input_ids"].tolist(), "segments": None if segments is None else segments.tolist()}
            worst = difference(ours(arguments, "logits", folder, rows), networks.said(model, inputs))
    print(f"{folder}: {config['architectures'][0]}, transformers {transformers.__version__}, largest difference {worst:.1e}", flush=True)
    return worst


def rows_of(arguments, folder, query):
    command = [f"{arguments.bin}/mill", "sql", str(folder / "x.toml"), "--format", "json", "-c", query]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def check_labels(folder, model, tokens, problem):
    """Whether transformers knows the classes by the numbers that the tokens gave them."""
    config = transformers.AutoConfig.from_pretrained(model)
    classes = json.loads((folder / "runs/steps" / tokens / "manifest.json").read_text())["facts"].get("classes")
    if problem == NUMBER:
        classes = ["LABEL_0"]
    assert config.problem_type == problem, f"{model}: problem_type {config.problem_type}"
    if classes:
        assert config.id2label == dict(enumerate(classes)), f"{model}: {config.id2label}, the tokens have {classes}"
        assert config.label2id == {label: number for number, label in enumerate(classes)}, f"{model}: {config.label2id}"


def check_texts(arguments, folder, name, model):
    """The largest difference between what `predict` said of texts and what transformers says of all of them at once."""
    tokens, _, _, problem = NETWORKS[name]
    documents = TOKENS[tokens][0]
    second = ", d.title" if tokens.endswith("editions") else ""
    wanted = "p.prediction" if problem == NUMBER else "p.probabilities"
    rows = rows_of(arguments, folder, f"select d.text{second}, {wanted} as said from {name}_said1 p join {documents} d using (id) order by p.id")
    tokenizer, (network, _) = transformers.AutoTokenizer.from_pretrained(model), opened(model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    texts = [row["text"] for row in rows]
    seconds = [[row["title"] for row in rows]] if second else []
    with torch.no_grad():
        logits = network(**tokenizer(texts, *seconds, padding=True, truncation=True, max_length=SEQUENCE_LENGTH, return_tensors="pt")).logits
    theirs = {ONE: logits.softmax(-1), SEVERAL: logits.sigmoid(), NUMBER: logits[:, 0]}[problem]
    worst = difference((torch.tensor([row["said"] for row in rows]), None), (theirs, None))
    print(f"{model}: predictions of {len(rows)} texts, largest difference {worst:.1e}", flush=True)
    return worst


def check_generation(arguments, folder, name, model):
    """Whether the defaults of the folder write the targets that `predict` wrote, with one beam and with several."""
    tokenizer, (network, _) = transformers.AutoTokenizer.from_pretrained(model), opened(model)
    for beams in (1, 4):
        query = f"select d.text, p.prediction from {name}_said{beams} p join pairs d using (id) order by p.id"
        for row in rows_of(arguments, folder, query):
            inputs = tokenizer(row["text"], truncation=True, return_tensors="pt")
            target = tokenizer.decode(network.generate(**inputs, num_beams=beams, max_new_tokens=8)[0], skip_special_tokens=True)
            assert target == row["prediction"], f"{model}, {beams} beams: {target!r}, not {row['prediction']!r}"
    print(f"{model}: the same targets with one beam and four", flush=True)


def check_trained(arguments, folder):
    written(folder)
    subprocess.run([f"{arguments.bin}/mill", "run", str(folder / "x.toml"), "--quiet"], check=True)
    worst = 0.0
    for name, (tokens, _, architecture, problem) in NETWORKS.items():
        model = str(folder / "runs/steps" / name / "model")
        config = json.loads((pathlib.Path(model) / "config.json").read_text())
        assert config["architectures"] == [architecture], config["architectures"]
        worst = max(worst, check(arguments, model))
        if architecture != "RecurrentLanguageModel":
            check_labels(folder, model, tokens, problem)
        if name in OF_TEXTS:
            worst = max(worst, check_texts(arguments, folder, name, model))
        if name in TRANSLATORS:
            check_generation(arguments, folder, name, model)
    return worst


def check_random(arguments, folder):
    """Random networks that transformers saves: whole, in parts, and without a head."""
    worst = 0.0
    for name, model in networks.language_models():
        networks.disturb(model)
        for kind, saved, size in [("whole", model, "1GB"), ("parts", model, "20KB"), ("bare", model.base_model, "1GB")]:
            path = str(folder / f"{name}-{kind}")
            saved.save_pretrained(path, max_shard_size=size)
            worst = max(worst, check(arguments, path))
    heads = ((name, networks.disturb(model)) for name, model in networks.heads())
    others = ((name, networks.seq2seq(name, 1)) for name in networks.SEQ2SEQ)
    for name, model in [*heads, *others]:
        path = str(folder / name)
        model.save_pretrained(path)
        worst = max(worst, check(arguments, path))
    # T5 v1.1 as it is published, with an output of its own, and as transformers 5 saves that, which says so by another key.
    published, again = folder / "t5-gated", folder / "t5-gated-again"
    networks.untie(published, 2.0)
    transformers.T5ForConditionalGeneration.from_pretrained(published).save_pretrained(again)
    return max(worst, check(arguments, published), check(arguments, again))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release", help="the folder of mill and mill-model")
    parser.add_argument("--golden", action="store_true", help="write the files of the unit tests")
    parser.add_argument("folders", nargs="*", metavar="MODEL-FOLDER")
    arguments = parser.parse_args()
    if arguments.golden:
        return networks.write_goldens()
    if arguments.folders:
        worst = max(check(arguments, folder) for folder in arguments.folders)
    else:
        with tempfile.TemporaryDirectory() as folder:
            worst = max(check(arguments, pathlib.Path(folder)) for check in (check_trained, check_random))
    if worst > LIMIT:
        sys.exit(f"values differ by {worst:.2e}, allowed are {LIMIT:.0e}")


if __name__ == "__main__":
    main()
