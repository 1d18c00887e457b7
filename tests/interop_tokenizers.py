#!/usr/bin/env python3
"""Lets `import-tokenizer` take over tokenizers and compares the ids of `tokenize` with those of the programs that the files are for.

usage: interop_tokenizers.py [--mill PATH] [--keep FOLDER] FILES... -- CORPUS.jsonl...
       interop_tokenizers.py --golden FOLDER CORPUS.jsonl...     makes the files of pipeline/text/src/load/golden
FILES are *.tiktoken, *.model, vocab.txt and tokenizer.json. Besides the corpora, texts of random Unicode and of marks that are special are compared;
when all files are SentencePiece's, also texts of any characters and all texts in one (--wild).
Needs tiktoken, sentencepiece, tokenizers and transformers (run with 0.14.0, 0.2.3, 0.23.3 and 5.24.0), and the built program `mill`.
Exit code 1 when an id differs. One difference is known and counted apart: transformers' WordPiece in Python composes texts to NFC, as neither
BERT's first program nor the crate does.
"""
import argparse
import base64
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata
import zlib

import sentencepiece
import tiktoken
from tiktoken.load import load_tiktoken_bpe
from tiktoken_ext import openai_public

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
ENDS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "cl100k": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{ENDS}",
    "qwen2": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{ENDS}",
}
MARKS = ["<s>", "</s>", "<unk>", "<0x0A>", "<pad>", "<sep>", "<|endoftext|>", "<|im_start|>", "▁", "▁▁", " ", "  ", "   ", "\n", "\r\n", "\t", "\u3000",
         "\u00a0", "\u2028", "'s", "'S", "'ſ", "'LL", "don't", "I'm", "12345", "３４", "½", "²", "é", "e\u0301", "ﬁ", "①", "Ａ", "한", "\u1112\u1161\u11ab",
         "中", "国", "人", "日本", "カ", "ｶﾞ", "ไทย", "हिन्दी", "🦊", "👨‍👩‍👧", "\u200d", "\u200b", "\ufeff", "\u0001", "...", "----", "a", "b", "the", "The", "THE", "xX", "/", "//\n"]


def old(c):
    """Whether a character is one since Unicode 3.2 and has kept its category: programs have tables of different versions."""
    return unicodedata.category(c) == unicodedata.ucd_3_2_0.category(c) != "Cn"


def random_texts(count, seed):
    """Marks strung together, and random characters of random blocks."""
    pick = random.Random(seed)
    texts = []
    for n in range(count):
        if n % 2:
            texts.append("".join(pick.choice(MARKS) for _ in range(pick.randint(1, 24))))
        else:
            block = pick.choice([0x20, 0x80, 0x300, 0x400, 0x590, 0x900, 0xe00, 0x1100, 0x1e00, 0x2000, 0x2460, 0x3040, 0x4e00, 0xac00, 0xf900, 0xff00, 0x1f300, 0x20000])
            characters = [chr(block + pick.randrange(0x180)) if pick.random() < 0.8 else pick.choice(" a1") for _ in range(pick.randint(1, 40))]
            texts.append("".join(c for c in characters if not 0xd800 <= ord(c) < 0xe000 and old(c)))
    return [text for text in texts if text.strip()]


def wild_texts(count, seed):
    """Any characters, assigned or not, and many that join others."""
    pick = random.Random(seed)
    joins = [*range(0x300, 0x370), *range(0x3099, 0x309b), 0xff9e, 0xff9f, *range(0x1100, 0x1200), 0x200d, 0x200c, 0xfe0f, 0x93c, 0x9be, 0xe33, 0x653]
    bases = "aeiouAEOUnsx カハウｶﾊ가각क이ا가ي▁ \n\t"
    texts = []
    for _ in range(count):
        characters = []
        for _ in range(pick.randint(1, 30)):
            kind = pick.random()
            code = pick.choice(joins) if kind < 0.3 else ord(pick.choice(bases)) if kind < 0.6 else pick.randrange(0x3400) if kind < 0.8 else pick.randrange(0x110000)
            characters.append("" if 0xd800 <= code < 0xe000 else chr(code))
        texts.append("".join(characters))
    return [text for text in texts if text.strip()]


def tiktoken_encoding(path):
    name = path.stem.lower().replace("-", "_")
    openai_public.load_tiktoken_bpe = lambda *_, **__: {}
    if name in openai_public.ENCODING_CONSTRUCTORS:
        pattern = openai_public.ENCODING_CONSTRUCTORS[name]()["pat_str"]
    else:
        pattern = PATTERNS["qwen2" if name.startswith("qwen") else "cl100k"]
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(path)), special_tokens={})


def original(path):
    """A function from a text to the ids of the program that the file is for."""
    if path.suffix == ".tiktoken":
        encoding = tiktoken_encoding(path)
        normal = (lambda text: unicodedata.normalize("NFC", text)) if path.stem.startswith("qwen") else (lambda text: text)
        return lambda text: encoding.encode_ordinary(normal(text))
    if path.suffix == ".model":
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        return processor.encode
    if path.suffix == ".txt":
        from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy
        beside = path.with_name("tokenizer_config.json")
        lowercase = json.loads(beside.read_text())["do_lower_case"] if beside.exists() else True
        bert = BertTokenizerLegacy(str(path), do_lower_case=lowercase)
        # Its special tokens are found in texts; ours never are.
        bert.basic_tokenizer.never_split = set()
        cut = bert.basic_tokenizer.tokenize
        return lambda text: bert.convert_tokens_to_ids([piece for word in cut(text) for piece in bert.wordpiece_tokenizer.tokenize(word)])
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def run(mill, folder, files, texts):
    """{id: text} of the documents and {file: {id: ids}} of what `tokenize` stored."""
    with open(folder / "texts.jsonl", "w") as out:
        for text in texts:
            out.write(json.dumps({"text": text}) + "\n")
    config = ['[[step]]\nname = "documents"\nstage = "import"\npaths = ["texts.jsonl"]\n']
    for n, path in enumerate(files):
        settings = 'lowercase = true\n' if path.suffix == ".txt" and not path.with_name("tokenizer_config.json").exists() else ""
        config.append(f'[[step]]\nname = "tokenizer{n}"\nstage = "import-tokenizer"\nfile = "{path.resolve()}"\n{settings}')
        model = "masked" if path.suffix == ".txt" or "[CLS]" in path.read_bytes().decode("utf-8", "replace") else "causal"
        config.append(f'[[step]]\nname = "tokens{n}"\nstage = "tokenize"\nmodel = "{model}"\ninputs = {{ documents = "documents", tokenizer = "tokenizer{n}" }}\n')
    (folder / "x.toml").write_text("\n".join(config))
    subprocess.run([mill, "run", "x.toml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    def sql(query):
        out = subprocess.run([mill, "sql", "x.toml", "--format", "ndjson", "-c", query], cwd=folder, check=True, capture_output=True, text=True).stdout
        return [json.loads(line) for line in out.split("\n") if line]

    documents = {row["id"]: row["text"] for row in sql("select id, text from documents")}
    stored = {}
    for n, path in enumerate(files):
        pieces = stored[path] = {}
        for row in sql(f"select tokens, spans from tokens{n}"):
            at = 1
            for span in row["spans"]:
                pieces.setdefault(span["document"], []).append((span["start"], row["tokens"][at:at + span["length"]]))
                at += span["length"]
        for document, parts in pieces.items():
            # The last token ends the document.
            pieces[document] = [id for _, part in sorted(parts) for id in part][:-1]
    return documents, stored


def known_difference(path, text):
    """Whether a text is of a kind for which a difference is known, whatever the ids."""
    return path.suffix == ".txt" and unicodedata.normalize("NFC", text) != text


def compare(mill, folder, files, texts):
    documents, stored = run(mill, folder, files, texts)
    failed = False
    for path in files:
        ids_of = original(path)
        tokens, same, known, wrong = 0, 0, 0, []
        for document, text in documents.items():
            expected, found = list(ids_of(text)), stored[path].get(document, [])
            tokens += len(expected)
            if expected == found:
                same += 1
            elif known_difference(path, text):
                known += 1
            else:
                wrong.append((text, expected, found))
        print(f"{path.name}: {same} of {len(documents)} texts the same ({tokens} tokens), {known} known differences, {len(wrong)} wrong", flush=True)
        for text, expected, found in wrong[:3]:
            at = next((n for n, (a, b) in enumerate(zip(expected, found)) if a != b), min(len(expected), len(found)))
            print(f"  {text[:120]!r}\n  token {at}: expected {expected[at:at + 8]}, found {found[at:at + 8]}")
        failed |= bool(wrong)
    return failed


def texts_of(paths, most=None):
    texts = []
    for path in paths:
        if path.suffix == ".zst":
            content = subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True, text=True).stdout
        else:
            content = path.read_text()
        found = [json.loads(line).get("text") for line in content.split("\n") if line]
        texts += [text for text in found if text][:most]
    return texts


def golden(folder, corpora):
    """Small tokenizers, trained by the original programs, and their ids of some texts."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = texts_of(corpora[:1], 60) + texts_of(corpora[1:], 40)
    lines = [line.strip() for text in texts for line in text.split("\n") if line.strip()]
    train = dict(sentence_iterator=None, minloglevel=2, num_threads=1)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        # ﬁ → fi, Ａ → a, full-width space and newline → space, ´ → space and accent, e and accent → é, ｶ and mark → ガ, two jamo → 하, no zero-width space.
        rules.write("FB01\t66 69\nFF21\t61\n3000\t20\nA\t20\nB4\t20 301\n65 301\tE9\nFF76 FF9E\t30AC\nFF76\t30AB\n1112 1161\tD558\n200B\t\n")
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(**{**train, "sentence_iterator": iter(lines)}, model_prefix=str(folder / "unigram"), model_type="unigram", vocab_size=900,
                                                 character_coverage=0.98, normalization_rule_tsv=rules.name, user_defined_symbols=["<sep>"], pad_id=3)
        sentencepiece.SentencePieceTrainer.train(**{**train, "sentence_iterator": iter(lines)}, model_prefix=str(folder / "bare"), model_type="bpe", vocab_size=900, character_coverage=0.98,
                                                 normalization_rule_tsv=rules.name, add_dummy_prefix=False)
    sentencepiece.SentencePieceTrainer.train(**{**train, "sentence_iterator": iter(lines)}, model_prefix=str(folder / "bpe"), model_type="bpe", vocab_size=1500, character_coverage=0.99,
                                             byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
                                             user_defined_symbols=["<sep>", "▁▁", "国人"])
    for rest in folder.glob("*.vocab"):
        rest.unlink()
    from tiktoken._educational import bpe_train
    ranks = bpe_train("\n".join(lines)[:40_000], 600, PATTERNS["cl100k"], visualise=None)
    (folder / "small.tiktoken").write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
    from tokenizers import BertWordPieceTokenizer
    bert = BertWordPieceTokenizer(lowercase=True)
    bert.train_from_iterator(lines, vocab_size=900, min_frequency=2, show_progress=False)
    vocabulary = sorted(bert.get_vocab().items(), key=lambda pair: pair[1])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocabulary))
    chosen = [text[:200] for text in texts[::9]] + MARKS + random_texts(60, 7) + wild_texts(60, 7)
    chosen = [text for text in chosen if not known_difference(pathlib.Path("x.txt"), text) and all(map(old, text))]
    # For SentencePiece alone, as others compose texts; and a text so long that sums of scores in single precision lead elsewhere than in double.
    more = wild_texts(150, 8) + ["e\u0301", "ｶﾞｶ\u0301", "\u1112\u1161\u11ab", "a ´ b´", "\u200b \u200bx", "´"]
    long = " ".join(8 * (chosen + more))
    small = tiktoken.Encoding("small", pat_str=PATTERNS["cl100k"], mergeable_ranks=ranks, special_tokens={})
    ids, long_ids = {"small.tiktoken": [small.encode_ordinary(text) for text in chosen]}, {}
    for name in ["unigram.model", "bpe.model", "bare.model", "vocab.txt"]:
        ids_of = original(folder / name)
        ids[name] = [list(ids_of(text)) for text in (chosen + more if name.endswith(".model") else chosen)]
        if name.endswith(".model"):
            of_long = list(ids_of(long))
            long_ids[name] = [len(of_long), zlib.crc32(b"".join(id.to_bytes(4, "little") for id in of_long))]
    expected = {"origin": "tests/interop_tokenizers.py --golden, from speeches (public domain) and tang-poems (MIT) of data-samples/text", "texts": chosen, "more": more,
                "ids": ids, "long": long_ids}
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")).replace('],"', '],\n"') + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mill", default="target/release/mill")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--golden", type=pathlib.Path)
    parser.add_argument("--most", type=int, help="most texts of each corpus")
    parser.add_argument("--wild", type=int, default=2000, help="texts of any characters")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    corpora = [path for path in arguments.paths if ".jsonl" in path.suffixes]
    if arguments.golden:
        golden(arguments.golden, corpora)
        return 0
    files = [path for path in arguments.paths if path not in corpora]
    texts = texts_of(corpora, arguments.most) + random_texts(4000, 1)
    if all(path.suffix == ".model" for path in files):
        texts += wild_texts(arguments.wild, 2) + ["\n".join(texts)[:2_000_000]]
    with tempfile.TemporaryDirectory() as folder:
        folder = arguments.keep or pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return int(compare(str(pathlib.Path(arguments.mill).resolve()), folder, files, texts))


if __name__ == "__main__":
    sys.exit(main())
