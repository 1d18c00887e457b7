"""Random cases of tags, sets of labels, numbers and probabilities, with the scores of seqeval, scikit-learn and scipy."""

import warnings

import numpy
from scipy import stats
from seqeval import scheme as schemes
from seqeval.metrics import accuracy_score as token_accuracy
from seqeval.metrics import sequence_labeling, v1
from sklearn import metrics

warnings.simplefilter("ignore")

SCHEMES = {"iob1": "BIO", "iob2": "BIO", "ioe1": "IEO", "ioe2": "IEO", "iobes": "BIESO", "bilou": "BILUO"}
TYPES = [["PER"], ["PER", "LOC"], ["A", "B-C", "人"], ["ORG", "LOC", "PER", "MISC"]]


def encode(scheme, words, entities):
    """Tags of entities (type, first, last) in a scheme."""
    tags = ["O"] * words
    before = None
    for i, (kind, first, last) in enumerate(entities):
        inside = ["I"] * (last - first + 1)
        follows = i + 1 < len(entities) and entities[i + 1][1] == last + 1 and entities[i + 1][0] == kind
        if scheme == "iob2" or scheme == "iob1" and before == (kind, first - 1):
            inside[0] = "B"
        if scheme == "ioe2" or scheme == "ioe1" and follows:
            inside[-1] = "E"
        if scheme in ("iobes", "bilou"):
            inside[0], inside[-1] = "B", "E" if scheme == "iobes" else "L"
            if first == last:
                inside = ["S" if scheme == "iobes" else "U"]
        tags[first:last + 1] = [f"{tag}-{kind}" for tag in inside]
        before = (kind, last)
    return tags


def entities(rng, words, kinds):
    found, at = [], 0
    while at < words:
        length = rng.choice([1, 1, 2, 3])
        if rng.random() < 0.5 and at + length <= words:
            found.append((rng.choice(kinds), at, at + length - 1))
            at += length
        at += rng.choice([0, 0, 1, 2])
    return found


def or_none(value, defined):
    return float(value) if defined else None


def tag_case(rng, index):
    mode = [None, *SCHEMES][index % 7]
    scheme = mode or rng.choice(["iob2", "iobes", "ioe2", "iob1"])
    kinds = rng.choice(TYPES)
    prefixes = SCHEMES[mode] if mode else "BIESO"
    classes = [f"{prefix}-{kind}" for kind in kinds for prefix in prefixes if prefix != "O"] + ["O"]
    if rng.random() < 0.2:
        classes += [prefix for prefix in prefixes if prefix != "O"]
    gold, predicted = [], []
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        words = rng.choice([0, 1, 1, 2, 3, 5, 9, 15])
        tags = encode(scheme, words, entities(rng, words, kinds)) if rng.random() < 0.8 else [rng.choice(classes) for _ in range(words)]
        rate = rng.choice([0, 0.1, 0.3, 1])
        gold.append(tags)
        predicted.append([rng.choice(classes) if rng.random() < rate else tag for tag in tags])
    if not any(gold):
        gold[0], predicted[0] = ["O"], ["O"]
    case = {"scheme": mode, "classes": classes, "accuracy": token_accuracy(gold, predicted)}
    number = {tag: i for i, tag in enumerate(classes)}
    case["gold"], case["predicted"] = [[[number[tag] for tag in row] for row in rows] for rows in (gold, predicted)]

    def score(average):
        if mode:
            return v1.precision_recall_fscore_support(gold, predicted, average=average, scheme=getattr(schemes, mode.upper()), zero_division=0)
        return sequence_labeling.precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)
    if mode:
        found = [schemes.Entities(rows, getattr(schemes, mode.upper())).entities for rows in (gold, predicted)]
        found = [{(e.sent_id, *e.to_tuple()[1:]) for row in rows for e in row} for rows in found]
        names = sorted({kind for rows in found for _, kind, _, _ in rows}) if any(found) else []
    else:
        found = [set(sequence_labeling.get_entities(rows)) for rows in (gold, predicted)]
        names = sorted({kind for rows in found for kind, _, _ in rows})
    defined = [bool(found[1]), bool(found[0]), bool(found[0] or found[1])]
    case["counts"] = [len(found[0]), len(found[1]), len(found[0] & found[1])]
    for average in ["micro", "macro", "weighted"]:
        known = defined if average == "micro" else [bool(names)] * 3 if average == "macro" else [bool(found[0])] * 3
        case[average] = [or_none(value, ok) for value, ok in zip(score(average)[:3] if names else [0] * 3, known)]
    case["per_type"] = {}
    if names:
        for name, p, r, f, support in zip(names, *score(None)):
            predictions = sum(1 for e in found[1] if name in e)
            case["per_type"][name] = [or_none(p, predictions), or_none(r, support), float(f), int(support)]
    return case


def set_case(rng):
    classes = rng.choice([["a", "b"], ["x", "y", "z"], [str(i) for i in range(7)]])
    rows = rng.choice([1, 1, 2, 3]) if rng.random() < 0.3 else rng.randint(3, 40)
    density, noise = rng.choice([0.0, 0.2, 0.5, 1.0]), rng.choice([0.0, 0.1, 0.4, 1.0])
    gold = [[int(rng.random() < density) for _ in classes] for _ in range(rows)]
    predicted = [[int(rng.random() < 0.5) if rng.random() < noise else label for label in row] for row in gold]
    y, p = numpy.array(gold), numpy.array(predicted)
    case = {"classes": classes, "gold": gold, "predicted": predicted,
            "subset_accuracy": metrics.accuracy_score(y, p), "hamming_loss": metrics.hamming_loss(y, p)}
    hits, g, q = int((y & p).sum()), int(y.sum()), int(p.sum())
    score = lambda average, zero=0: metrics.precision_recall_fscore_support(y, p, average=average, zero_division=zero)[:3]
    case["micro"] = [or_none(x, ok) for x, ok in zip(score("micro"), (q, g, g + q))]
    case["macro"] = [float(x) for x in score("macro")]
    case["weighted"] = [or_none(x, g) for x in score("weighted")]
    case["samples"] = [float(x) for x in score("samples")]
    columns = zip(*score(None, numpy.nan))
    case["per_class"] = [[None if numpy.isnan(x) else float(x) for x in row] for row in columns]
    return case


def number_case(rng):
    rows = rng.choice([1, 2, 2, 3, 4]) if rng.random() < 0.3 else rng.randint(3, 60)
    kind = rng.random()
    draw = (lambda: round(rng.gauss(0, 1), 3)) if kind < 0.4 else (lambda: float(rng.randint(0, 5))) if kind < 0.7 else (lambda: 1e6 + round(rng.random(), 3)) if kind < 0.85 else (lambda: 2.5)
    gold = [draw() for _ in range(rows)]
    noise = rng.choice([0, 0.1, 1, 5])
    predicted = [3.0] * rows if rng.random() < 0.1 else [g * rng.choice([1, 1, -1]) + (round(rng.gauss(0, noise), 3) if kind < 0.4 else rng.randint(-1, 1) * noise) for g in gold]
    predicted = [round(value, 3) for value in predicted]
    case = {"gold": gold, "predicted": predicted, "mse": metrics.mean_squared_error(gold, predicted), "mae": metrics.mean_absolute_error(gold, predicted)}
    known = rows > 1 and len(set(gold)) > 1 and len(set(predicted)) > 1
    case["pearson"] = float(stats.pearsonr(gold, predicted).statistic) if known else None
    case["spearman"] = float(stats.spearmanr(gold, predicted).statistic) if known else None
    return case


def ece(confidence, right, bins):
    """Guo et al. (2017), in 64 bits: bins (lo, hi] of equal width."""
    edges = numpy.linspace(0, 1, bins + 1)
    total = 0.0
    table = []
    for low, high in zip(edges, edges[1:]):
        within = (confidence > low) & (confidence <= high) if low > 0 else confidence <= high
        table.append(int(within.sum()))
        if within.any():
            total += within.mean() * abs(right[within].mean() - confidence[within].mean())
    return total, table


def probability_case(rng):
    classes = rng.choice([["ham", "spam"], ["ham", "spam"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]])
    rows = rng.choice([1, 2, 3]) if rng.random() < 0.2 else rng.randint(3, 60)
    golds = range(len(classes)) if rng.random() < 0.8 else rng.sample(range(len(classes)), rng.randint(1, len(classes)))
    gold = [rng.choice(list(golds)) for _ in range(rows)]
    coarse, skill = rng.random() < 0.5, rng.choice([0.0, 1.0, 4.0])
    # Multiples of a power of two, so that 32 bits hold them and rows sum to 1.
    parts = 8 if coarse else 4096
    values = []
    for g in gold:
        weights = [rng.gauss(0, 1) + (skill if c == g else 0) for c in range(len(classes))]
        row = numpy.floor(numpy.exp(weights) / numpy.exp(weights).sum() * parts)
        row[rng.randrange(len(classes))] += parts - row.sum()
        values.append([int(x) for x in row])
    p = numpy.array(values) / parts
    y, predicted, labels = numpy.array(gold), p.argmax(1), list(range(len(classes)))
    case = {"classes": classes, "gold": gold, "predicted": predicted.tolist(), "parts": parts, "probabilities": values}
    clip = numpy.clip(p[numpy.arange(rows), y], 2 ** -52, 1 - 2 ** -52)
    case["log_loss"] = float(-numpy.log(clip).mean())
    assert abs(case["log_loss"] - metrics.log_loss(y, p, labels=labels)) < 1e-12
    hot = numpy.eye(len(classes))[y]
    case["brier"] = float(((p - hot) ** 2).sum(1).mean() / (2 if len(classes) == 2 else 1))
    assert abs(case["brier"] - metrics.brier_score_loss(y, p, labels=labels)) < 1e-12
    confidence = p[numpy.arange(rows), predicted]
    case["ece"], case["bins"] = ece(confidence, (predicted == y).astype("float64"), 10)
    # Here, so that the other cases need no further package.
    import calibration
    case["ece_mass"] = float(calibration.get_ece_em(p, y, num_bins=10))
    both = [0 < hot[:, c].sum() < rows for c in labels]
    case["auc"] = [float(metrics.roc_auc_score(hot[:, c], p[:, c])) if ok else None for c, ok in zip(labels, both)]
    case["average_precision"] = [float(metrics.average_precision_score(hot[:, c], p[:, c])) if hot[:, c].any() else None for c in labels]
    if len(classes) > 2:
        def multi(multi_class, average):
            return float(metrics.roc_auc_score(y, p, labels=labels, multi_class=multi_class, average=average))
        case["ovr"] = [multi("ovr", "macro"), multi("ovr", "weighted")] if all(both) else None
        case["ovo"] = [multi("ovo", "macro"), multi("ovo", "weighted")] if len(set(gold)) > 1 else None
        case["precision_macro"] = float(metrics.average_precision_score(hot, p, average="macro")) if hot.any(0).all() else None
    return case
