"""Random cases of multiple choice and counterfactual pairs by the definitions of lm-evaluation-harness, CrowS-Pairs and StereoSet, of
fairness with torchmetrics, and of TF-IDF with a linear model with scikit-learn."""

import math

import numpy
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

TEXTS = ["yes", "no", "", "春天", "perhaps not", "a", "naïve", "👍🏽", "the other one", "B"]


def choice_case(rng):
    rows = rng.choice([1, 2]) if rng.random() < 0.2 else rng.randint(3, 30)
    # Halves make ties.
    draw = (lambda: -rng.randint(1, 12) / 2) if rng.random() < 0.5 else (lambda: round(-rng.random() * 60, 6))
    with_unconditional = rng.random() < 0.5
    case = {"gold": [], "choices": [], "log_likelihoods": [], "unconditional": [] if with_unconditional else None}
    right = {"acc": [], "acc_norm": [], "acc_bytes": [], "acc_mutual_info": []}
    for _ in range(rows):
        count = rng.randint(1, 5)
        choices, lls = [rng.choice(TEXTS) for _ in range(count)], [draw() for _ in range(count)]
        gold = rng.randrange(count)
        unconditional = [draw() for _ in range(count)]
        with numpy.errstate(divide="ignore"):
            best = {"acc": numpy.argmax(lls),
                    "acc_norm": numpy.argmax(numpy.array(lls) / numpy.array([float(len(c)) for c in choices])),
                    "acc_bytes": numpy.argmax(numpy.array(lls) / numpy.array([float(len(c.encode())) for c in choices])),
                    "acc_mutual_info": numpy.argmax(numpy.array(lls) - numpy.array(unconditional))}
        for name, place in best.items():
            right[name].append(float(place == gold))
        case["gold"].append(gold)
        case["choices"].append(choices)
        case["log_likelihoods"].append(lls)
        if with_unconditional:
            case["unconditional"].append(unconditional)
    for name, values in right.items():
        case[name] = sum(values) / len(values)
    if not with_unconditional:
        case["acc_mutual_info"] = None
    return case


def likelihood_case(rng):
    """Rolling log-likelihoods of documents: word_perplexity, byte_perplexity and bits_per_byte of lm-evaluation-harness."""
    documents = [(-rng.random() * 200, rng.randint(1, 60), rng.randint(1, 400)) for _ in range(rng.randint(1, 20))]
    weighted_mean = lambda place: sum(d[0] for d in documents) / sum(d[place] for d in documents)
    return {"documents": documents, "word_perplexity": math.exp(-weighted_mean(1)), "byte_perplexity": math.exp(-weighted_mean(2)),
            "bits_per_byte": -weighted_mean(2) / math.log(2), "bits_per_word": -weighted_mean(1) / math.log(2)}


def crows(rows):
    """metric.py of CrowS-Pairs, after its table was read: sent1 is the more stereotyping text of `stereo` pairs, the less of the others."""
    stereo = antistereo = neutral = total_stereo = total_antistereo = 0
    for more, less, direction in rows:
        sent1, sent2 = (more, less) if direction == "stereo" else (less, more)
        sent1, sent2 = round(sent1, 3), round(sent2, 3)
        if sent1 == sent2:
            neutral += 1
        elif direction == "stereo":
            total_stereo += 1
            stereo += sent1 > sent2
        else:
            total_antistereo += 1
            antistereo += sent2 > sent1
    n = len(rows)
    of = lambda part, whole: part / whole * 100 if whole else None
    return {"score": (stereo + antistereo) / n * 100, "stereo": of(stereo, total_stereo), "antistereo": of(antistereo, total_antistereo),
            "neutral": neutral / n * 100, "difference": sum(abs(a - b) for a, b, _ in rows) / n}


def stereoset(rows):
    """evaluation.py of StereoSet: counts by target term, then means over the terms."""
    terms = {}
    for stereotype, anti, unrelated, target in rows:
        term = terms.setdefault(target, {"total": 0.0, "pro": 0.0, "related": 0.0})
        term["total"] += 1.0
        term["pro"] += stereotype > anti
        term["related"] += (stereotype > unrelated) + (anti > unrelated)
    ss = float(numpy.mean([100.0 * (t["pro"] / t["total"]) for t in terms.values()]))
    lm = float(numpy.mean([(t["related"] / (t["total"] * 2.0)) * 100.0 for t in terms.values()]))
    return {"lms": lm, "ss": ss, "icat": lm * (min(ss, 100.0 - ss) / 50.0)}


def contrast_case(rng):
    draw = lambda: round(-rng.random() * rng.choice([1e-3, 1, 80]), rng.choice([3, 4, 6]))
    rows = []
    for _ in range(rng.choice([1, 2]) if rng.random() < 0.2 else rng.randint(3, 40)):
        stereotype = draw()
        anti = round(stereotype + rng.choice([0.0, 0.0005, -0.0004]), 6) if rng.random() < 0.3 else draw()
        rows.append([stereotype, anti, round(draw() - rng.choice([0, 20]), 6), rng.choice(["stereo", "antistereo"]), rng.choice(["chess player", "Sierra Leone", "薪", "mother"])])
    return {"rows": rows, "crows": crows([(a, b, d) for a, b, _, d, _ in rows]), "stereoset": stereoset([(a, b, u, t) for a, b, u, _, t in rows])}


def fairness_case(rng):
    # Here, so that the other cases need no torch.
    import torch
    from torchmetrics.classification import BinaryFairness
    groups = rng.randint(2, 4)
    rows = groups * 2 + rng.randint(0, 40)
    group = [i % groups for i in range(groups * 2)] + [rng.randrange(groups) for _ in range(rows - groups * 2)]
    # Of each group one row is gold, so that the rate of true positives is defined.
    gold = [1] * groups + [rng.randint(0, 1) for _ in range(rows - groups)]
    predicted = [g if rng.random() < 0.6 else rng.randint(0, 1) for g in gold]
    ratios = BinaryFairness(groups, task="all")(torch.tensor(predicted), torch.tensor(gold), torch.tensor(group))
    case = {"group": group, "gold": gold, "predicted": predicted}
    for name, ratio in ratios.items():
        case["parity" if name.startswith("DP") else "opportunity"] = float(ratio)
    return case


STEP, ALL = 0x9E3779B97F4A7C15, (1 << 64) - 1


def place(ngram):
    """Where the stage counts an n-gram: those that share a place are one term there, and two here."""
    def finalize(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & ALL
        z = (z ^ z >> 27) * 0x94D049BB133111EB & ALL
        return z ^ z >> 31
    absorb = lambda state, number: finalize(state + finalize(number + STEP & ALL) + STEP & ALL)
    hashed = 0
    for token in ngram:
        hashed = absorb(absorb(STEP, hashed), token)
    return ngram if len(ngram) == 1 else hashed >> 42


def baseline_case(rng, index):
    """Rows of tokens below 40 with labels: TfidfVectorizer with LogisticRegression or Ridge at their defaults, fitted to the minimum."""
    kind = ["class", "multi-label", "number"][index % 3]
    classes, vocabulary = rng.randint(2, 4), 40
    def row(label):
        weights = [1 + 6 * (token % classes == label) for token in range(vocabulary)]
        return rng.choices(range(vocabulary), weights, k=rng.randint(1, 30))
    def rows(count):
        labels = list(range(classes)) + [rng.randrange(classes) for _ in range(count - classes)]
        return [row(label) for label in labels], labels
    ngram_max, texts_min, regularization = rng.choice([1, 2, 3]), rng.choice([1, 2]), rng.choice([0.1, 1.0, 3.0])
    ngrams = lambda tokens: [tuple(tokens[i:i + n]) for n in range(1, ngram_max + 1) for i in range(len(tokens) - n + 1)]
    while True:
        (train, y), (test, _) = rows(rng.randint(20, 60)), rows(10)
        terms = {term for tokens in train + test for term in ngrams(tokens)}
        if len({place(term) for term in terms}) == len(terms):
            break
    vectorizer = TfidfVectorizer(analyzer=ngrams, min_df=texts_min)
    x = vectorizer.fit_transform(train)
    t = vectorizer.transform(test)
    exact = {"C": 1 / regularization, "tol": 1e-12, "max_iter": 10_000, "solver": "newton-cg"}
    if kind == "class":
        labels, expected = y, LogisticRegression(**exact).fit(x, y).predict_proba(t)
    elif kind == "multi-label":
        labels = [[c for c in range(classes) if c == label or rng.random() < 0.2] for label in y]
        hot = numpy.array([[int(c in row) for c in range(classes)] for row in labels])
        expected = numpy.stack([LogisticRegression(**exact).fit(x, hot[:, c]).predict_proba(t)[:, 1] for c in range(classes)], 1)
    else:
        labels = [round(label + rng.gauss(5, 0.3), 3) for label in y]
        expected = Ridge(alpha=regularization, tol=1e-12, solver="sparse_cg").fit(x, labels).predict(t)[:, None]
    return {"kind": kind, "classes": classes, "ngram_max": ngram_max, "texts_min": texts_min, "regularization": regularization,
            "terms": len(vectorizer.vocabulary_), "train": train, "labels": labels, "test": test, "expected": expected.tolist()}
