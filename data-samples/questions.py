"""Makes questions with answers from templates over real text, for configs/tasks/questions.toml. They are made, and no benchmark.

A context is a few sentences, of State-of-the-Union addresses of the years that text/speeches.jsonl.zst leaves out, or of the People's Daily. An
answer is a year, a sum of money, a country, … of the address, or a name that the newspaper's annotation marks; the question asks for its kind and,
in English, tells two words of its sentence, because the context may hold others of its kind.
"""
import json
import re

import make

COUNTRIES = """Great Britain|England|France|Spain|Mexico|Russia|Germany|China|Japan|Italy|Cuba|Portugal|Austria|Canada|Brazil|Chile|Peru|Turkey|
Venezuela|Nicaragua|Colombia|Panama|Korea|Poland|Greece|Iran|Iraq|Israel|Egypt|India|Afghanistan|Vietnam|Viet-Nam|the Soviet Union|Hawaii|Denmark|
Sweden|Norway|Belgium|Haiti|Honduras|Guatemala|Costa Rica|Ireland|Texas|California|Florida|Louisiana|Oregon|Alaska|Porto Rico|the Philippines""".replace("\n", "")
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
# kind -> (what is asked, what answers look like)
KINDS = {
    "date": ("On which day", rf"(?:(?:{MONTHS}) \d{{1,2}}(?:, \d{{4}})?|\d{{1,2}}(?:st|nd|rd|th)(?: day)? of (?:{MONTHS})(?:, \d{{4}})?)"),
    "year": ("In which year", r"(?:17|18|19|20)\d\d(?![\d,])"),
    "money": ("How much money", r"\$\d[\d,.]*\d(?: (?:million|billion|thousand))?"),
    "share": ("How many percent", r"\d[\d.]* (?:per ?cent(?:um)?)"),
    "place": ("Which country or state", rf"(?:{COUNTRIES})\b"),
}
CHINESE = {"PER": "文中提到了哪个人？", "LOC": "文中提到了哪个地方？", "ORG": "文中提到了哪个机构？"}
CONTEXT_WORDS = range(30, 85)
CONTEXT_CHARACTERS = range(25, 100)


def squad(packages, news, split):
    """The questions of each part in the format of SQuAD 1.1."""
    parts = {}
    for title, context, question, answer, start, part in [*english(packages, split), *chinese(packages, news)]:
        contexts = parts.setdefault(part, {}).setdefault(title, {})
        contexts.setdefault(context, []).append((question, answer, start))
    for part, articles in parts.items():
        data = []
        for title, found in articles.items():
            paragraphs = [{"context": context, "qas": [
                {"id": f"{title} {n}.{m}", "question": question, "answers": [{"text": answer, "answer_start": start}]}
                for m, (question, answer, start) in enumerate(asked)]} for n, (context, asked) in enumerate(found.items())]
            data.append({"title": title, "paragraphs": paragraphs})
        yield f"questions-{part}.json", json.dumps({"version": "1.1", "data": data}, ensure_ascii=False)


def english(packages, split):
    for file in sorted((make.fetch("speeches", packages) / "package/data").glob("*.json")):
        speech = json.loads(file.read_text(encoding="utf-8")) if re.match(r"\d{4}_", file.name) else {"year": 0}
        if int(speech["year"]) % 3:
            text = re.sub(r"\s+", " ", speech["text"])
            for context in contexts(re.split(r"(?<=[a-z)][.!?]) (?=[A-Z])", text)):
                for question, answer, start in asked(context):
                    yield "en " + file.stem, context, question, answer, start, split(file.name)


def contexts(sentences):
    """Neighbouring sentences, put together up to a length."""
    context = []
    for sentence in sentences:
        words = sum(len(part.split()) for part in [*context, sentence])
        if words >= CONTEXT_WORDS.stop:
            if sum(len(part.split()) for part in context) in CONTEXT_WORDS:
                yield " ".join(context)
            context = []
        context.append(sentence)


def asked(context):
    """One question for each kind of answer that the context has, about the first answer whose sentence holds no other of its kind."""
    begins = [0, *(place.end() for place in re.finditer(r"(?<=[a-z)][.!?]) (?=[A-Z])", context)), len(context)]
    parts = [context[begin:end] for begin, end in zip(begins, begins[1:])]
    for prompt, pattern in KINDS.values():
        for part, begin in zip(parts, begins):
            found = list(re.finditer(pattern, part))
            hints = [word for word in re.findall(r"\b[a-z]{6,}\b", part) if context.count(word) == 1]
            if len(found) == 1 and len(hints) >= 2:
                hints = sorted(sorted(hints, key=make.share)[:2], key=part.index)
                yield f"{prompt}: {hints[0]}, {hints[1]}?", found[0].group(), begin + found[0].start()
                break


def chinese(packages, news):
    for row in news(packages):
        if len(row["text"]) in CONTEXT_CHARACTERS:
            for kind, question in CHINESE.items():
                places = [n for n, tag in enumerate(row["tags"]) if tag == f"B-{kind}"]
                # Two kinds at least, so that the question decides.
                kinds = {tag[2:] for tag in row["tags"] if tag != "O"}
                if len(places) == 1 and len(kinds) > 1:
                    end = places[0] + 1
                    while end < len(row["tags"]) and row["tags"][end] == f"I-{kind}":
                        end += 1
                    title = f"zh {row['paragraph']}"
                    yield title, row["text"], question, row["text"][places[0]:end], places[0], row["part"]
