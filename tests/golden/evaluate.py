#!/usr/bin/env python3
"""Makes evaluate.json.gz beside it: what lm-evaluation-harness says of a tiny GPT-2, the windows that it cuts texts into, and what the script of
CrowS-Pairs says of a tiny BERT.

pip install torch transformers lm_eval==0.4.13 accelerate && python evaluate.py
The networks have the weights of parity_networks.by_formula and compute in double precision. Run it only to change the cases: the file is
committed, and tests read it without Python.
"""
import difflib
import gzip
import json
import pathlib
import random
import sys
import tempfile

import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import parity_networks as networks

POSITIONS = 32
TRAINED_ON = ["The capital of France is Paris.", "Question: who wrote it? Answer: Li Bai wrote it.", "今天天气很好。", "the other one is not the answer"] * 3
WORDS = "the answer is not here , but who knows ? 今天 天气 很好 。 Paris wrote  it\n\n A B C naïve 👍🏽".split(" ")


def text(rng, longest):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, longest)))


def byte_level(template):
    """Byte-level BPE; with a template, whose texts begin with a token of their own, or without."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<|endoftext|>", "<s>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TRAINED_ON, trainer)
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def gpt(size):
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=size, n_positions=POSITIONS, attn_pdrop=0.0, embd_pdrop=0.0,
                                     resid_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    config.architectures = ["GPT2LMHeadModel"]
    return networks.by_formula(transformers.GPT2LMHeadModel(config)).eval().double()


def instance(kind, *arguments):
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def causal_case(template, rng):
    tokenizer = byte_level(template)
    names = {"bos_token": "<s>" if template else "<|endoftext|>", "eos_token": "<|endoftext|>"}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        fast = transformers.PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", **names)
    model = gpt(tokenizer.get_vocab_size())
    lm = HFLM(pretrained=model, tokenizer=fast, batch_size=1, device="cpu", max_length=POSITIONS)
    pairs = [("Question: who wrote it?\nAnswer:", " Li Bai"), ("The capital of France is ", "Paris"), ("", " Paris"), ("", "今天"),
             ("A\n\n", " B"), ("的的的 \u3000", "天"), ("the", "re"), ("who \x1c", " knows")]
    pairs += [(rng.choice(["", text(rng, 12), text(rng, 40)]) + rng.choice(["", "", " ", "\n"]), " " + text(rng, 5)) for _ in range(60)]
    # The reference fails where nothing is left to predict, or nothing stands before.
    pairs = [(a, b) for a, b in pairs if a == "" or a.strip()]
    asked = lm.loglikelihood([instance("loglikelihood", *pair) for pair in pairs], disable_tqdm=True)
    tokens = [lm._encode_pair(*pair) if pair[0] else (None, None) for pair in pairs]
    texts = ["", "a", "the answer", *(text(rng, longest) for longest in [5, 10, 20, 40, 60, 90, 120, 200, 300])]
    rolled = lm.loglikelihood_rolling([instance("loglikelihood_rolling", text) for text in texts], disable_tqdm=True)
    prompts = [text(rng, longest) for longest in [1, 3, 8, 12, 30, 50]]
    settings = {"until": ["the"], "max_gen_toks": 9, "do_sample": False}
    written = lm.generate_until([instance("generate_until", prompt, dict(settings)) for prompt in prompts], disable_tqdm=True)
    return {
        "tokenizer": json.loads(tokenizer.to_str()), "names": names, "config": model.config.to_dict(),
        "pairs": [{"context": a, "continuation": b, "tokens": t, "log_likelihood": ll, "greedy": greedy}
                  for (a, b), t, (ll, greedy) in zip(pairs, tokens, asked)],
        "rolling": [{"text": text, "log_likelihood": ll} for text, ll in zip(texts, rolled)],
        "written": [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, written)],
    }


def windows(rng):
    cases = []
    for _ in range(300):
        longest = rng.randint(1, 12)
        context, count = rng.randint(1, longest), rng.randint(0, 40)
        found = map(make_disjoint_window, get_rolling_token_windows(list(range(count)), 99, longest, context))
        cases.append({"tokens": count, "longest": longest, "context": context, "windows": list(found)})
    return cases


def shared(a, b):
    """`get_span` of the script of CrowS-Pairs."""
    blocks = [op for op in difflib.SequenceMatcher(None, a, b).get_opcodes() if op[0] == "equal"]
    return [[i, j] for _, i1, i2, j1, j2 in blocks for i, j in zip(range(i1, i2), range(j1, j2))]


def shared_cases(rng):
    cases = []
    for n in range(200):
        length = rng.choice([0, 1, 3, 8, 20, 40]) if n < 180 else rng.randint(190, 260)
        kinds = rng.choice([2, 4, 10, 100])
        a = [rng.randrange(kinds) for _ in range(length)]
        b = [token if rng.random() < 0.8 else rng.randrange(kinds) for token in a if rng.random() < 0.95]
        cases.append({"a": a, "b": b, "shared": shared(a, b)})
    return cases


def masked_case(rng):
    """`mask_unigram` of the script of CrowS-Pairs."""
    words = "he she was were a the doctor nurse good bad very not at home works ##s ##ed is".split()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=len(vocabulary),
                                     max_position_embeddings=POSITIONS, pad_token_id=0)
    config.architectures = ["BertForMaskedLM"]
    model = networks.by_formula(transformers.BertForMaskedLM(config)).eval().double()
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    plain = [word for word in words if not word.startswith("#")]
    pairs = []
    for _ in range(12):
        first = [rng.choice(plain) for _ in range(rng.randint(2, 12))]
        second = [rng.choice(plain) if rng.random() < 0.3 else word for word in first if rng.random() < 0.95] or ["he"]
        ids = [tokenizer.encode(" ".join(sentence)).ids for sentence in (first, second)]
        sums = [0.0, 0.0]
        for places in shared(*ids)[1:-1]:
            for side, place in enumerate(places):
                hidden = list(ids[side])
                label, hidden[place] = hidden[place], 4
                with torch.no_grad():
                    sums[side] += model(torch.tensor([hidden])).logits[0, place].log_softmax(-1)[label].item()
        pairs.append({"more": " ".join(first), "less": " ".join(second), "log_likelihoods": sums})
    return {"tokenizer": json.loads(tokenizer.to_str()), "config": model.config.to_dict(), "pairs": pairs}


def main():
    rng = random.Random(5)
    cases = {"causal": [causal_case(template, rng) for template in (False, True)], "windows": windows(rng), "shared": shared_cases(rng),
             "masked": masked_case(rng)}
    with open(HERE / "evaluate.json.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
        packed.write((json.dumps(cases, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
