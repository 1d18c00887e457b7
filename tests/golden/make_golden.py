"""Makes the golden files beside it: scores of the reference programs for random cases.

pip install sacrebleu==2.6.0 scikit-learn==1.9.1 scipy rouge-score==0.1.2 regex==2024.11.6
pip install torch torchmetrics==1.9.0
pip install --no-deps seqeval==1.2.2 uncertainty-calibration==0.1.4 && python make_golden.py [NAME …]
The version of regex decides the Unicode tables of sacrebleu's tokenizer `intl`: this one has 16.0, as the Rust crate.
Run it only to change the cases: the files are committed, and tests read them without Python. differential.py makes fresh cases.
"""

import gzip
import json
import random
import sys
import warnings
import zlib
from pathlib import Path

import numpy
import regex
import sacrebleu
import sklearn
from sacrebleu.metrics import BLEU
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, confusion_matrix, matthews_corrcoef, precision_recall_fscore_support

import choices
import labels
import written

HERE = Path(__file__).parent
TOKENIZERS = ["13a", "zh", "intl", "char", "none"]
SMOOTHINGS = [("exp", None), ("floor", None), ("floor", 0.37), ("add-k", None), ("add-k", 0.25), ("none", None)]

ENGLISH = """the cat sat on a mat is it was in 1,000.50 3-4 U.S.A. e.g. 'tis don't -- ... "quoted" (so) [10] {x} &amp; &lt;b&gt;
 &quot;q&quot; &amp;lt; <skipped> a-b 5- -5 2020. .5 5. , . ! ? ; : $5 #1 50% x_y a/b a\\b ~ ^ ` @me * + = | end-\nof-line The CAT Σίσυφος ΟΔΟΣ İstanbul
 naïve café “curly” ‘single’ — – … € → ½ ² Ⅷ ٣ ٣.٤ ३,५""".split(" ")
CHINESE = list("我你他是的不了在有人中国大学生吃饭今天气很好，。！？：；“”《》、（）")
CHINESE += ["𠀀", "𪛖", "㐀", "龻", "龼", "3.5", "GPT-4", "２０", "ｱ", "カタ", "한국"]
ODD = ["\u2001", "\u2a6d", "\u2a6e", "\u1680", "\u00a0", "\u3000", "\u200b", "\x1c", "\x1f", "\x85", "\t", "\r\n", "\u2028", "\ufeff",
       "👍🏽", "e\u0301", "\u0000", "ﬀ", "ß", "½.", ".½", "५-", "5-", "-", ".", ",", "..", ".,5", "5.,"]


def sentence(rng):
    """A text of 0 to 25 pieces, mostly of one kind."""
    kind = rng.random()
    length = rng.choice([0, 1, 1, 2, 3, 4, 5, 8, 12, 25]) if rng.random() < 0.4 else rng.randint(4, 14)
    words = [rng.choice(ENGLISH if kind < 0.55 else CHINESE if kind < 0.85 else ODD) for _ in range(length)]
    words = [rng.choice(ODD) if rng.random() < 0.04 else word for word in words]
    text = ("" if 0.55 <= kind < 0.85 else rng.choice([" ", " ", " ", "", "  "])).join(words)
    return rng.choice(["", "", "", " ", "\n", "\u3000"]) + text + rng.choice(["", "", "", " ", "\n", "\x1d", " ."])


def changed(rng, text):
    """A hypothesis near the reference: dropped, doubled, replaced and swapped pieces."""
    by_character = " " not in text
    pieces = list(text) if by_character else text.split(" ")
    rate = rng.choice([0.0, 0.05, 0.2, 0.5, 1.0])
    out = []
    for piece in pieces:
        action = rng.random()
        if action >= rate:
            out.append(piece)
        elif action < rate * 0.3:
            out += [piece, piece]
        elif action < rate * 0.6:
            out.append(rng.choice(CHINESE if by_character else ENGLISH))
        elif action < rate * 0.7:
            out.append(piece.upper())
    if rate and len(out) > 2 and rng.random() < 0.3:
        i = rng.randrange(len(out) - 1)
        out[i], out[i + 1] = out[i + 1], out[i]
    return ("" if by_character else " ").join(out)


def crc(tokenized):
    """Checksum of texts cut into tokens, so that a wrong cut shows even where the counts agree."""
    return zlib.crc32("\n".join(" ".join(text.split()) for text in tokenized).encode())


def bleu_case(rng, index):
    smoothing, value = SMOOTHINGS[index // len(TOKENIZERS) % len(SMOOTHINGS)]
    settings = {"tokenize": TOKENIZERS[index % len(TOKENIZERS)], "smooth_method": smoothing, "smooth_value": value,
                "lowercase": rng.random() < 0.25, "effective_order": rng.random() < 0.35}
    rows = rng.choice([1, 1, 1, 2, 3, 5])
    most = rng.choice([1, 1, 1, 2, 3])
    varying = rng.random() < 0.5
    hypotheses, references = [], []
    for _ in range(rows):
        first = sentence(rng)
        row = [first] + [changed(rng, first) if rng.random() < 0.7 else sentence(rng) for _ in range(most - 1)]
        references.append(row[:rng.randint(1, most)] if varying else row)
        hypotheses.append(changed(rng, first) if rng.random() < 0.85 else sentence(rng))
    streams = [[row[i] if i < len(row) else None for row in references] for i in range(most)]
    metric = BLEU(**settings, force=True)
    statistics = [sum(column) for column in zip(*metric._extract_corpus_statistics(hypotheses, streams))]
    score = metric.corpus_score(hypotheses, streams)
    texts = [text for h, refs in zip(hypotheses, references) for text in [h, *refs]]
    return {**settings, "hypotheses": hypotheses, "references": references,
            "tokens": crc(metric._preprocess_segment(text) for text in texts),
            "statistics": statistics, "score": score.score, "brevity_penalty": score.bp, "precisions": score.precisions,
            "signature": str(metric.get_signature()).rsplit("|version:", 1)[0]}


def every_character(tokenize):
    """One checksum per 4096 code points of planes 0 to 3: each between letters, digits and points (without surrogates)."""
    metric = BLEU(tokenize=tokenize, force=True)
    sums = []
    for block in range(0, 0x40000, 0x1000):
        points = [c for c in map(chr, range(block, block + 0x1000)) if not 0xD800 <= ord(c) <= 0xDFFF]
        sums.append(crc(metric._preprocess_segment(f"a{c}b 1{c}2 {c}.{c} {c}") for c in points))
    return sums


def classification_case(rng):
    names = rng.choice([["ham", "spam"], ["a", "b", "c"], ["neg", "neutral", "pos", "体育", ""], [str(i) for i in range(8)], ["one"]])
    gold_names = names if rng.random() < 0.6 else rng.sample(names, rng.randint(1, len(names)))
    predicted_names = names if rng.random() < 0.6 else rng.sample(names, rng.randint(1, len(names)))
    rows = rng.choice([1, 1, 2, 2, 3, 4]) if rng.random() < 0.3 else rng.randint(3, 60)
    skill = rng.choice([0.0, 0.3, 0.6, 0.9, 1.0])
    gold = [rng.choice(gold_names) for _ in range(rows)]
    predicted = [g if rng.random() < skill and g in predicted_names else rng.choice(predicted_names) for g in gold]
    index = {name: i for i, name in enumerate(names)}
    case = {"classes": names, "gold": [index[g] for g in gold], "predicted": [index[p] for p in predicted]}
    present = sorted(set(gold) | set(predicted), key=index.get)
    case["accuracy"] = accuracy_score(gold, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of a single label, with which the case is still right.
        case["balanced_accuracy"], case["mcc"] = balanced_accuracy_score(gold, predicted), float(matthews_corrcoef(gold, predicted))
        kappa = float(cohen_kappa_score(gold, predicted))
        case["kappa"] = None if numpy.isnan(kappa) else kappa
        case["confusion"] = confusion_matrix(gold, predicted, labels=names).tolist()
        for average in ["micro", "macro", "weighted"]:
            case[average] = [float(x) for x in precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)[:3]]
        columns = precision_recall_fscore_support(gold, predicted, labels=present, average=None, zero_division=numpy.nan)[:3]
    case["per_class"] = {name: [None if numpy.isnan(x) else float(x) for x in row] for name, row in zip(present, zip(*columns))}
    return case


def write(path, content):
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    data = gzip.compress(text.encode(), 9, mtime=0)
    path.write_bytes(data)
    print(f"{path.name}: {len(content['cases'])} cases, {len(data)} bytes")


# By name: the seed and the number of committed cases, and what makes a case of a generator and the number of the case.
MAKERS = {
    "bleu": (20, 1500, bleu_case),
    "classification": (21, 1200, lambda rng, _: classification_case(rng)),
    "tags": (22, 1400, labels.tag_case),
    "sets": (23, 600, lambda rng, _: labels.set_case(rng)),
    "numbers": (24, 600, lambda rng, _: labels.number_case(rng)),
    "probabilities": (25, 600, lambda rng, _: labels.probability_case(rng)),
    "answers": (26, 1500, lambda rng, _: written.answer_case(rng)),
    "texts": (27, 1000, lambda rng, _: written.text_case(rng, sentence, changed)),
    "significance": (28, 40, lambda rng, index: written.significance_case(rng, sentence, changed, index)),
    "choices": (29, 1000, lambda rng, _: choices.choice_case(rng)),
    "likelihoods": (30, 300, lambda rng, _: choices.likelihood_case(rng)),
    "contrasts": (31, 600, lambda rng, _: choices.contrast_case(rng)),
    "fairness": (32, 300, lambda rng, _: choices.fairness_case(rng)),
    "baseline": (33, 60, choices.baseline_case),
}


def content(name):
    seed, count, case = MAKERS[name]
    rng = random.Random(seed)
    made = {"cases": [case(rng, index) for index in range(count)]}
    if name != "bleu":
        return made
    characters = {tokenize: every_character(tokenize) for tokenize in TOKENIZERS}
    return {"made_with": f"sacrebleu {sacrebleu.__version__}, regex {regex.__version__}", **made, "every_character": characters}


def main():
    assert (sacrebleu.__version__, sklearn.__version__, regex.__version__) == ("2.6.0", "1.9.1", "2.5.148")
    for name in sys.argv[1:] or MAKERS:
        write(HERE / f"{name}.json.gz", content(name))


if __name__ == "__main__":
    main()
