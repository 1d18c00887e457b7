#!/usr/bin/env python3
"""Runs the configs of configs/tasks/ with several seeds and prints the table of README.md: baseline, from scratch, fine-tuned.

usage: tasks.py --mill MILL [--seeds 1,2,3] [--threads N] [--results FILE] [--print] [TASK ...]

Data must be there (`make task` fetches them). A seed decides about weights, the order of samples and, where the data come without splits of their
own, the splits. FILE (default: runs/tasks.json) gathers what was measured; --print only prints it.
"""
import argparse
import json
import pathlib
import statistics
import subprocess

from run import output

ROOT = pathlib.Path(__file__).parent.parent.parent
# (what is learned, metric, lower is better, step that trains, step that scores), by task; the network from scratch has `_scratch` after its name
TASKS = {
    "language-model": [("next words of Shakespeare", "perplexity", True, "causal", "causal{}_score"),
                       ("hidden words of Shakespeare", "perplexity", True, "masked", "masked{}_score")],
    "classify": [("English mails: spam?", "f1", False, "spam", "spam{}_score"), ("Chinese reviews: praise?", "f1", False, "sentiment", "sentiment{}_score")],
    "entities": [("Chinese news: persons, places, organizations", "f1", False, "entities", "entities{}_score")],
    "questions": [("English and Chinese, made questions", "f1", False, "answers", "answers{}_score")],
    "translate": [("Chinese and French to English, help pages", "bleu", False, "translate", "translate{}_score"),
                  ("the same", "chrf", False, "translate", "translate{}_score")],
    "summarize": [("Debian's descriptions, Chinese help pages", "rouge-l", False, "summarize", "summarize{}_score")],
    "dialogue": [("English and Chinese, what people said", "perplexity", True, "reply", "reply{}_perplexity"),
                 ("the same, replies written", "chrf", False, "reply", "reply{}_score")],
    "word-vectors": [("WordSim-353", "spearman", False, "skip_gram", "scores"), ("analogies", "analogy_accuracy", False, "skip_gram", "scores")],
    "sentence-pairs": [("description and summary: a pair?", "f1", False, "match", "match{}_score"),
                       ("how similar two programs are", "spearman", False, "similarity", "similarity{}_score"),
                       ("how a package needs another", "f1", False, "relation", "relation{}_score")],
}
# The simple systems, the best that a task has first
SIMPLE = ["tf-idf + logistic regression", "tf-idf + ridge regression", "most frequent tag", "sliding window", "first sentences", "copy of the source", "unigram"]


def measure(mill, task, seed, threads):
    """The scores, and the processor seconds of each training, of one run."""
    config = f"configs/tasks/{task}.toml"
    subprocess.run([mill, "run", config, "--quiet", "--set", f"seed={seed}", *threads], cwd=ROOT, check=True)
    names = ", ".join(f"'{step.format(more)}'" for *_, step in TASKS[task] for more in ("", "_scratch"))
    sql = f"select step, system, metric, value from steps.scores where class is null and step in ({names})"
    rows = json.loads(output([mill, "sql", config, "--format", "json", "-c", sql], cwd=ROOT))
    sql = "select step, cpu_seconds from steps where stage in ('train', 'word2vec')"
    seconds = json.loads(output([mill, "sql", config, "--format", "json", "-c", sql], cwd=ROOT))
    return {"scores": [[row["step"], row["system"], row["metric"], row["value"]] for row in rows],
            "seconds": {row["step"]: row["cpu_seconds"] for row in seconds}}


def value(result, step, metric, systems):
    """A score of the first of these systems that has one."""
    found = {system: v for s, system, m, v in result["scores"] if (s, m) == (step, metric)}
    return next((found[system] for system in systems if system in found), None)


def shown(values):
    values = [v for v in values if v is not None]
    if not values:
        return ""
    digits = 1 if max(values) >= 2 else 3
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def line(task, row, results):
    what, metric, lower, training, step = row
    if task == "word-vectors":
        tuned, scratch = ([named(r, metric, name) for r in results] for name in ("skip_gram", "scratch"))
        simple = [named(r, metric, "spelling") for r in results]
        baseline, seconds = simple, [r["seconds"][training] for r in results]
    else:
        tuned = [value(r, step.format(""), metric, ["model"]) for r in results]
        scratch = [value(r, step.format("_scratch"), metric, ["model"]) for r in results]
        baseline = [value(r, step.format(""), metric, SIMPLE) for r in results]
        seconds = [r["seconds"][training] for r in results]
    better = statistics.mean(tuned) < statistics.mean(scratch) if lower else statistics.mean(tuned) > statistics.mean(scratch)
    tuned = f"**{shown(tuned)}**" if better else shown(tuned)
    return f"| `{task}` | {what} | {metric} | {shown(baseline)} | {shown(scratch)} | {tuned} | {statistics.mean(seconds):.0f} |"


def named(result, metric, system):
    return next((v for _, s, m, v in result["scores"] if (s, m) == (system, metric)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=list(TASKS))
    parser.add_argument("--mill", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--threads", help="threads of each run (default: all cores)")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "runs/tasks.json")
    parser.add_argument("--print", action="store_true", dest="only_print")
    arguments = parser.parse_args()
    threads = ["--threads", arguments.threads] if arguments.threads else []
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for seed in [] if arguments.only_print else arguments.seeds.split(","):
        for task in arguments.tasks:
            results.setdefault(task, {})[seed] = measure(arguments.mill.absolute(), task, seed, threads)
            arguments.results.write_text(json.dumps(results, indent=1))
    print("| task | data | metric | baseline | from scratch | fine-tuned | processor s |\n|---|---|---|---:|---:|---:|---:|")
    for task in [task for task in arguments.tasks if task in results]:
        for row in TASKS[task]:
            print(line(task, row, list(results[task].values())))


if __name__ == "__main__":
    main()
