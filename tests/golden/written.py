"""Random cases of written texts and answers, with the scores of sacrebleu and rouge-score, and what SQuAD's scripts define."""

import collections
import re
import string

import numpy
import regex
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest, _bootstrap_resample, estimate_ci

ROUGE = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


class UnicodeTokens:
    """Letters, marks and digits of any script; Han, Hiragana and Katakana one by one."""
    PATTERN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}]]+", regex.V1)

    def tokenize(self, text):
        return self.PATTERN.findall(text.lower())


SCORERS = {"latin": rouge_scorer.RougeScorer(ROUGE), "stem": rouge_scorer.RougeScorer(ROUGE, use_stemmer=True),
           "unicode": rouge_scorer.RougeScorer(ROUGE, tokenizer=UnicodeTokens())}


BASES = "fly die hop fall file happ enjoy relat condit geolog adjust adopt rate control agree see sing motor operat hope tri digit valu conform rad vile proceed sk new".split()
SUFFIXES = "s es ies ied ed eed ing ingly y ational tional enci izer bli alli entli eli ousli ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance er able ement ment ent ion sion tion ou ism ate ous ive ize e l ll ss".split()


def inflected(rng):
    """English-like words for the stemmer."""
    word = lambda: rng.choice(BASES) + "".join(rng.choice(SUFFIXES) for _ in range(rng.choice([0, 1, 1, 2])))
    return " ".join(word() for _ in range(rng.randint(2, 12)))


def inflections(rng, text):
    """The same words with other endings, some of them."""
    ending = lambda word: word[:rng.randint(3, len(word))] + rng.choice(SUFFIXES) if len(word) > 3 and rng.random() < 0.5 else word
    return " ".join(ending(word) for word in text.split(" "))


def repeats(hypotheses, lowercase):
    """distinct-n of all texts together (Li et al. 2016) and seq-rep-n of each, on average (Welleck et al. 2020), for 1 to 4 tokens of the tokenizer 13a."""
    metric = BLEU(lowercase=lowercase, force=True)
    tokens = [metric._preprocess_segment(text).split() for text in hypotheses]
    found = {"distinct": [], "repetition": []}
    for n in range(1, 5):
        ngrams = [[tuple(row[i:i + n]) for i in range(len(row) - n + 1)] for row in tokens]
        together = [ngram for row in ngrams for ngram in row]
        found["distinct"].append(len(set(together)) / len(together) if together else None)
        shares = [1 - len(set(row)) / len(row) for row in ngrams if row]
        found["repetition"].append(sum(shares) / len(shares) if shares else None)
    return found


def text_case(rng, sentence, changed):
    if rng.random() < 0.3:
        sentence, changed = inflected, inflections
    rows, most = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 1, 2, 3])
    lines = lambda text: "".join("\n" if c == " " and rng.random() < 0.1 else c for c in text)
    hypotheses, references = [], []
    for _ in range(rows):
        first = sentence(rng)
        references.append([lines(first)] + [lines(changed(rng, first)) if rng.random() < 0.7 else sentence(rng) for _ in range(most - 1)])
        hypothesis = changed(rng, first) if rng.random() < 0.85 else sentence(rng)
        if rng.random() < 0.4:
            # Words moved as a block, for TER.
            words = hypothesis.split(" ")
            a, b = sorted(rng.randrange(len(words) + 1) for _ in range(2))
            words = words[b:] + words[a:b] + words[:a] if rng.random() < 0.5 else words[:a] + words[b:] + words[a:b]
            hypothesis = " ".join(words)
        hypotheses.append(lines(hypothesis))
    streams = [list(stream) for stream in zip(*references)]
    case = {"hypotheses": hypotheses, "references": references, "lowercase": rng.random() < 0.3}
    for name, order in [("chrf", 0), ("chrf++", 2)]:
        metric = CHRF(word_order=order, lowercase=case["lowercase"])
        statistics = [[int(x) for x in row] for row in metric._extract_corpus_statistics(hypotheses, streams)]
        case[name] = {"statistics": [sum(column) for column in zip(*statistics)], "score": metric.corpus_score(hypotheses, streams).score,
                      "signature": str(metric.get_signature()).rsplit("|version:", 1)[0]}
    settings = {"normalized": rng.random() < 0.5, "no_punct": rng.random() < 0.3, "asian_support": rng.random() < 0.5, "case_sensitive": rng.random() < 0.3}
    metric = TER(**settings)
    statistics = metric._extract_corpus_statistics(hypotheses, streams)
    case["ter"] = {"settings": settings, "statistics": [[float(x) for x in row] for row in statistics],
                   "score": metric.corpus_score(hypotheses, streams).score, "signature": str(metric.get_signature()).rsplit("|version:", 1)[0]}
    for name, scorer in SCORERS.items():
        best = [scorer.score_multi(refs, hypothesis) for hypothesis, refs in zip(hypotheses, references)]
        case[name] = [[float(numpy.mean([getattr(row[kind], part) for row in best])) for part in ("fmeasure", "precision", "recall")] for kind in ROUGE]
    return {**case, **repeats(hypotheses, case["lowercase"])}


def normal(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(gold, prediction, version):
    gold, prediction = normal(gold).split(), normal(prediction).split()
    if version == "2.0" and (not gold or not prediction):
        return float(gold == prediction)
    same = sum((collections.Counter(gold) & collections.Counter(prediction)).values())
    if not same:
        return 0.0
    precision, recall = same / len(prediction), same / len(gold)
    return 2 * precision * recall / (precision + recall)


ANSWERS = ["the", "The", "a", "an", "cat", "Cat.", "cats", "black", "1,000", "U.S.", "the-end", "thé", "A\u0301", "李白", "a李", "\u2014", "“the”", "…", "an_a",
           "\x1f", "\u3000", "ΟΔΟΣ", "İ", "½", "the½", "'a'", "…a…", "()", "!"]


def answer_case(rng):
    version = rng.choice(["1.1", "2.0"])
    text = lambda: rng.choice([" ", " ", "", "  "]).join(rng.choice(ANSWERS) for _ in range(rng.choice([0, 1, 1, 2, 3, 5])))
    rows = []
    for _ in range(rng.choice([1, 1, 2, 5])):
        golds = [text() for _ in range(rng.randint(1 if version == "1.1" else 0, 3))]
        rows.append([golds, rng.choice(golds) if golds and rng.random() < 0.4 else text()])
    exact_of, f1_of, answerable = [], [], []
    for golds, prediction in rows:
        if version == "2.0":
            golds = [gold for gold in golds if normal(gold)]
            answerable.append(bool(golds))
            golds = golds or [""]
        exact_of.append(max(float(normal(gold) == normal(prediction)) for gold in golds))
        f1_of.append(max(f1(gold, prediction, version) for gold in golds))
    mean = lambda values: 100 * sum(values) / len(values) if values else None
    part = lambda values, which: mean([value for value, has in zip(values, answerable) if has == which])
    case = {"squad": version, "rows": rows, "exact_match": [mean(exact_of)], "f1": [mean(f1_of)]}
    if version == "2.0":
        case["exact_match"] += [part(exact_of, True), part(exact_of, False)]
        case["f1"] += [part(f1_of, True), part(f1_of, False)]
    return case


def significance_case(rng, sentence, changed, index):
    """Intervals and p-values of sacrebleu for two systems."""
    rows = rng.choice([2, 3, 10, 20])
    references = [sentence(rng) for _ in range(rows)]
    one, other = [[changed(rng, reference) for reference in references] for _ in range(2)]
    name, metric = [("bleu", BLEU(force=True)), ("chrf", CHRF())][index % 2]
    test, samples = [("bs", 200), ("ar", 300)][index // 2 % 2]
    systems = [("other", other), ("one", one)]
    results = PairedTest(systems, {name: metric}, [references], test_type=test, n_samples=samples)()[1]
    theirs = next(value for key, value in results.items() if key != "System")[1]
    # The same in 64 bits: sacrebleu's single precision moves the seventh digit, and a p-value where differences are equal.
    ours, others = [numpy.array(metric._extract_corpus_statistics(system, [references]), "float64") for system in (one, other)]
    score = lambda statistics: metric._compute_score_from_stats(statistics.tolist()).score
    drawn = numpy.random.default_rng(12345).choice(rows, size=(samples, rows), replace=True)
    values = sorted(score(ours[index].sum(0)) for index in drawn)
    difference = abs(score(ours.sum(0)) - score(others.sum(0)))
    if test == "bs":
        distances = numpy.array([abs(score(ours[index].sum(0)) - score(others[index].sum(0))) for index in drawn])
        beyond = distances - distances.mean() > difference
    else:
        coins = numpy.random.default_rng(12345).integers(2, size=(samples, rows), dtype=bool)
        beyond = numpy.array([abs(score(coin @ others + ~coin @ ours) - score(~coin @ others + coin @ ours)) > difference for coin in coins])
    p_value = (beyond.sum() + 1) / (samples + 1)
    low, high = values[samples // 40], values[samples - samples // 40 - 1]
    _, half = estimate_ci(numpy.array([s.score for s in _bootstrap_resample(metric._extract_corpus_statistics(one, [references]), metric, samples)[1]]))
    assert abs(half - (high - low) / 2) < 1e-4 and abs(theirs.p_value - p_value) < 0.03, (half, high - low, theirs.p_value, p_value)
    numbers = {"score": theirs.score, "p_value": p_value, "low": low, "high": high, "half": (high - low) / 2}
    return {"references": references, "one": one, "other": other, "metric": name, "test": test, "resamples": samples,
            **{name: float(value) for name, value in numbers.items()}}
