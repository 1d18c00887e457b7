"""Tiny networks of transformers and PyTorch whose values make every part count, and the goldens that the unit tests compare with."""
import copy
import json
import pathlib

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Configs and logits, for weights that a formula gives.
BY_FORMULA = ROOT / "tests/golden/models"
# Folders with weights.
FOLDERS = ROOT / "stages/torch/src/tests/golden"

LABELS = {0: "a", 1: "b", 2: "c"}
NAMED = {"id2label": LABELS, "label2id": {label: number for number, label in LABELS.items()}}
PROBLEMS = {
    "class": ("ForSequenceClassification", {"problem_type": "single_label_classification", **NAMED}),
    "several": ("ForSequenceClassification", {"problem_type": "multi_label_classification", **NAMED}),
    "number": ("ForSequenceClassification", {"problem_type": "regression", "num_labels": 1}),
    "tags": ("ForTokenClassification", NAMED),
    "answers": ("ForQuestionAnswering", {}),
    "pairs": ("ForPreTraining", {}),
}
SEQ2SEQ = ["marian", "marian-swish", "t5", "t5-gated"]
VOCABULARY, WIDTH, LAYERS = 30, 8, 2
SOURCE = [[5, 9, 14, 3, 22, 7, 11, 29, 6, 1], [8, 4, 17, 1, 0, 0, 0, 0, 0, 0]]
TARGET = [[0, 12, 6, 25, 9, 18], [0, 20, 13, 13, 2, 7]]
# Targets to learn; -100 is none.
TAUGHT = [[12, 6, 25, 9, 18, 1], [20, 13, 1, -100, -100, -100]]
SMOOTHING = 0.1


def configs(**more):
    """Settings that are not the default ones, by style."""
    sizes = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=56, vocab_size=90, max_position_embeddings=48)
    special = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    quiet = dict(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    gpt2 = dict(n_embd=32, n_layer=3, n_head=4, vocab_size=90, n_positions=48, layer_norm_epsilon=1e-6, **quiet)
    return {
        "gpt2": transformers.GPT2Config(**gpt2, **special, **more),
        "llama": transformers.LlamaConfig(**sizes, num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=5e5, **special, **more),
        "qwen3": transformers.Qwen3Config(**sizes, num_key_value_heads=1, head_dim=6, tie_word_embeddings=True, **special, **more),
        "bert": transformers.BertConfig(**sizes, layer_norm_eps=1e-6, **special, **more),
        "modernbert": transformers.ModernBertConfig(**sizes, local_attention=8, global_attn_every_n_layers=2, **special, **more),
    }


def t5(**more):
    return transformers.T5Config(
        d_model=32, d_kv=6, d_ff=56, num_layers=3, num_decoder_layers=2, num_heads=4, vocab_size=90, relative_attention_num_buckets=8,
        relative_attention_max_distance=9, feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, **more,
    )  # fmt: skip


def language_models():
    """A network with a language model's head of every style."""
    for style, config in configs().items():
        causal = style in ("gpt2", "llama", "qwen3")
        automatic = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
        torch.manual_seed(3)
        yield style, automatic.from_config(config, attn_implementation="sdpa").eval()


def heads():
    """A network with every other head that its style has here."""
    names = {"gpt2": "GPT2", "llama": "Llama", "qwen3": "Qwen3", "bert": "Bert", "modernbert": "ModernBert", "t5": "T5"}
    for problem, (ending, more) in PROBLEMS.items():
        for style, config in {**configs(**more), "t5": t5(**more)}.items():
            if problem == "pairs" and style != "bert":
                continue
            torch.manual_seed(3)
            yield f"{style}-{problem}", getattr(transformers, names[style] + ending)(config).eval()


def batch(config, rows=3, length=9):
    """Random ids: with segments of BERT, with padding at the end of a row for others; those of T5 end in its end-of-text token."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, config.vocab_size, (rows, length), generator=generator)
    if config.model_type == "bert":
        return {"input_ids": ids, "token_type_ids": (torch.arange(length) > length // 2).long().expand(rows, length).contiguous()}
    if config.model_type != "modernbert" and config.pad_token_id is not None:
        ids[1, -3:] = config.pad_token_id
    if config.model_type == "t5":
        # The hidden state of what ends a text tells its class.
        ids[0::2, -1] = ids[1, -4] = config.eos_token_id
    return {"input_ids": ids}


def said(model, inputs):
    """Logits in our shapes, and those of pairs of segments."""
    with torch.no_grad():
        found = model(**inputs)
    if "start_logits" in found:
        return torch.stack([found.start_logits, found.end_logits], -1), None
    if "prediction_logits" in found:
        return found.prediction_logits, found.seq_relationship_logits
    return found.logits, None


def disturb(model, scale=0.1):
    """Biases and norms that are no zeros and ones."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model


def by_formula(model):
    """Weights that every language computes alike."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            start = sum(byte * (i + 1) for i, byte in enumerate(name.encode())) % 1000
            values = 0.1 * numpy.sin(numpy.arange(parameter.numel()) * 0.7548776662 + start)
            values += 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            parameter.copy_(torch.tensor(values.astype(numpy.float32)).reshape(parameter.shape))
    return model


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
    """A tiny random network with an encoder and a decoder."""
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


def smoothed(model):
    """The loss with and without label smoothing, and the norms of the gradients of the first, over targets of unequal length, in double precision;
    and by how much of themselves (or of 0.1) those in single precision are off at most."""
    plain, exact = smoothed_gradients(copy.deepcopy(model).double())
    singles = smoothed_gradients(model)[1]
    rounding = max(abs(singles[name] - norm) / max(norm, 0.1) for name, norm in exact.items())
    return {"labels": TAUGHT, "label_smoothing": SMOOTHING, "plain_loss": plain, "gradients": exact, "rounding": rounding}


def smoothed_gradients(model):
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.requires_grad_()
    for module in model.modules():
        # Decoders begin with the padding token, whose embedding is learned here as any other.
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    source, labels = torch.tensor(SOURCE), torch.tensor(TAUGHT)
    decoder = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1].clamp(min=0)], 1)
    logits = model(input_ids=source, attention_mask=(source != 0).long(), decoder_input_ids=decoder).logits.flatten(0, 1)
    loss = lambda smoothing: torch.nn.functional.cross_entropy(logits, labels.flatten(), label_smoothing=smoothing)
    model.zero_grad()
    loss(SMOOTHING).backward()
    variables = dict(model.named_parameters(), **{name: value for name, value in model.named_buffers() if value.requires_grad})
    return loss(0.0).item(), {name: float(value.grad.double().norm()) for name, value in variables.items() if value.requires_grad}


def untie(folder, factor=1.0):
    """transformers 5 makes every new T5 a tied one; published folders of v1.1 have a matrix of their own, and say so."""
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state["shared.weight"] * factor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def rounded(logits):
    return [[[round(value, 6) for value in place] for place in row] for row in logits.tolist()]


def flat(logits):
    return [round(value, 6) for value in logits.reshape(-1).tolist()]


def golden_by_formula():
    for style, model in language_models():
        ids = [[(7 * i + 13 * row) % 90 for i in range(20)] for row in range(2)]
        logits, _ = said(by_formula(model), {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(2, 20, dtype=torch.long)})
        model.config.architectures = [type(model).__name__]
        text = json.dumps({"config": model.config.to_dict(), "ids": ids, "last_logits": flat(logits[:, -3:])})
        (BY_FORMULA / f"{style}.json").write_text(text + "\n")
    cases = {}
    for name, model in heads():
        inputs = batch(model.config)
        logits, pairs = said(by_formula(model), inputs)
        model.config.architectures = [type(model).__name__]
        segments = inputs.get("token_type_ids")
        cases[name] = {
            "config": model.config.to_dict(),
            "input": {"ids": inputs["input_ids"].tolist(), "segments": None if segments is None else segments.tolist()},
            "logits": flat(logits),
            "pairs": None if pairs is None else flat(pairs),
        }
    (BY_FORMULA / "heads.json").write_text(json.dumps(cases) + "\n")


def golden_recurrent():
    source, target = torch.tensor(SOURCE), torch.tensor(TARGET)
    for cell, tied in [("lstm", True), ("gru", True), ("rnn", False)]:
        model = randomize(Recurrent(cell, VOCABULARY, WIDTH, LAYERS, tied), 3)
        save_recurrent(model, cell, tied, FOLDERS / cell)
        with torch.no_grad():
            logits, state = model(source)
            further, _ = model(target, state)
        expected = {"source": SOURCE, "target": TARGET, "logits": rounded(logits), "further": rounded(further)}
        (FOLDERS / cell / "expected.json").write_text(json.dumps(expected) + "\n")


def golden_seq2seq():
    source, target = torch.tensor(SOURCE), torch.tensor(TARGET)
    for name in SEQ2SEQ:
        # Networks whose searches differ, and end by themselves now and then.
        for seed in range(12):
            model = seq2seq(name, seed)
            found = [search["targets"] for search in searches(model, source)]
            lengths = [len(row) for targets in found for row in targets]
            if len(set(map(str, found))) >= 3 and min(lengths) < 9 and max(lengths) > 2:
                break
        folder = FOLDERS / name
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        if name == "t5-gated":
            untie(folder)
            model = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
        with torch.no_grad():
            logits = model(input_ids=source, attention_mask=(source != 0).long(), decoder_input_ids=target).logits
        expected = {"source": SOURCE, "target": TARGET, "logits": rounded(logits), "searches": searches(model, source), "smoothed": smoothed(model)}
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def write_goldens():
    golden_by_formula()
    golden_recurrent()
    golden_seq2seq()
