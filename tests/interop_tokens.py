#!/usr/bin/env python3
"""Opens every format of `export` with its own reader, and lets `import-tokens` read what its own writer wrote; compares all ids with the shards.

usage: interop_tokens.py [--mill PATH] [--keep FOLDER] CORPUS.jsonl
       interop_tokens.py --golden FOLDER        makes the files of stages/tokens/src/export/golden
Needs numpy, pyarrow, torch, megatron-core, mosaicml-streaming and datasets (run with 0.16.1, 0.13.0 and 5.2.0), and the built program `mill`.
Exit code 1 when an id, a document or a split differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")
import datasets
import numpy as np
import pyarrow as pa
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
from streaming import LocalDataset, MDSWriter

datasets.disable_progress_bars()
FORMATS = ["megatron", "nanogpt", "npy", "mds", "huggingface"]
SPLITS = ["test", "train", "valid"]


def stored(folder):
    """{split: {id: ids}} of packed shards, from their spans."""
    found = {}
    for split in SPLITS:
        documents = found[split] = {}
        for path in sorted((folder / f"tokens/split={split}").glob("*.arrow")):
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            for tokens, spans in zip(table["tokens"], table["spans"]):
                tokens, at = tokens.values.to_numpy(), 1
                for span in spans.as_py():
                    piece = tokens[at:at + span["length"]]
                    documents.setdefault(span["document"].hex(), []).append((span["start"], piece))
                    at += span["length"]
        for name, pieces in documents.items():
            documents[name] = np.concatenate([piece for _, piece in sorted(pieces, key=lambda pair: pair[0])]).astype(np.int64)
    return found


def cut(ids, end):
    """Documents of a flat array."""
    ids = np.asarray(ids).astype(np.int64)
    return np.split(ids, np.flatnonzero(ids == end)[:-1] + 1) if len(ids) else []


def theirs(format, files, split, end):
    """Documents of an export by the format's own reader; ids are None where it keeps none."""
    if format == "megatron":
        data = IndexedDataset(str(files / split))
        starts = data.document_indices
        return [(None, np.concatenate([data[s] for s in range(a, b)]).astype(np.int64)) for a, b in zip(starts[:-1], starts[1:])]
    if format == "nanogpt":
        name = {"valid": "val"}.get(split, split)
        return [(None, ids) for ids in cut(np.memmap(files / f"{name}.bin", dtype=np.uint16, mode="r"), end)]
    if format == "npy":
        return [(None, ids) for ids in cut(np.load(files / f"{split}.npy", mmap_mode="r"), end)]
    if format == "mds":
        data = LocalDataset(str(files / split))
        return [(data[n]["id"], data[n]["tokens"].astype(np.int64)) for n in range(len(data))]
    data = datasets.load_from_disk(str(files / split))
    data.set_format("numpy", columns=["input_ids"], output_all_columns=True)
    return [(row["id"], row["input_ids"].astype(np.int64)) for row in data]


def write(format, folder, documents, wide):
    """Writes documents with the format's own writer; returns the path for `import-tokens`."""
    folder.mkdir(parents=True)
    dtype = np.int32 if wide else np.uint16
    if format == "megatron":
        builder = IndexedDatasetBuilder(str(folder / "data.bin"), dtype=dtype)
        for ids in documents.values():
            # Two sequences for one document, as when sentences are split.
            half = len(ids) // 2
            builder.add_document(ids.astype(dtype), [half, len(ids) - half] if half else [len(ids)])
        builder.finalize(str(folder / "data.idx"))
        return folder / "data"
    flat = np.concatenate(list(documents.values()))
    if format == "nanogpt":
        flat.astype(np.uint16).tofile(folder / "data.bin")
        return folder / "data.bin"
    if format == "npy":
        np.save(folder / "data.npy", flat.astype(np.int64 if wide else np.uint16))
        return folder / "data.npy"
    if format == "mds":
        columns = {"id": "str", "tokens": "bytes" if wide else "ndarray:uint16", "score": "float64"}
        with MDSWriter(out=str(folder / "mds"), columns=columns, size_limit=1 << 18) as writer:
            for name, ids in documents.items():
                tokens = ids.tobytes() if wide else ids.astype(np.uint16)
                writer.write({"id": name, "tokens": tokens, "score": 0.5})
        return folder / "mds"
    rows = {"id": list(documents), "input_ids": [ids.tolist() for ids in documents.values()]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(folder / "hf"), num_shards=3)
    return folder / "hf"


def same(what, found, expected):
    """Counts documents; ends the program at the first difference."""
    ours = list(expected.items())
    if len(found) != len(ours):
        raise SystemExit(f"{what}: {len(found)} documents, {len(ours)} expected")
    for n, ((name, ids), (key, wanted)) in enumerate(zip(found, ours)):
        if name not in (None, key) or not np.array_equal(ids, wanted):
            raise SystemExit(f"{what}: document {n} differs")
    return len(ours), sum(len(ids) for ids in expected.values())


def golden(folder):
    """Small files by the originals' own writers."""
    folder.mkdir(parents=True)
    documents = [[5, 6, 7, 0], [0], [300, 8, 0], [*range(1, 301), 0]]
    names = [(bytes([n]) * 16).hex() for n in range(1, 5)]
    for name, dtype in [("u16", np.uint16), ("i64", np.int64)]:
        builder = IndexedDatasetBuilder(str(folder / f"{name}.bin"), dtype=dtype)
        for ids in documents:
            builder.add_document(np.array(ids, dtype), [len(ids)])
        builder.finalize(str(folder / f"{name}.idx"))
    flat = np.concatenate(documents)
    for name, dtype in [("u16", np.uint16), ("u32", np.uint32)]:
        np.save(folder / f"{name}.npy", flat.astype(dtype))
    with MDSWriter(out=str(folder / "mds"), columns={"id": "str", "tokens": "ndarray:uint16"}) as writer:
        for name, ids in zip(names, documents):
            writer.write({"id": name, "tokens": np.array(ids, np.uint16)})
    datasets.Dataset.from_dict({"id": names, "input_ids": documents}).save_to_disk(str(folder / "hf"))


def run(mill, folder, steps):
    config = 'root = "."\n' + "".join("[[step]]\n" + "".join(f"{key} = {value}\n" for key, value in step.items()) for step in steps)
    (folder / "x.toml").write_text(config)
    subprocess.run([mill, "run", "x.toml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "runs/x/steps"


def check(mill, corpus, folder):
    base = [
        {"stage": '"import"', "paths": json.dumps([str(corpus)])},
        {"stage": '"split"'},
        {"stage": '"learn-tokenizer"', "vocabulary_size": 4000},
        {"stage": '"tokenize"', "sequence_length": 256},
    ]
    exports = [{"name": f'"to_{format}"', "stage": '"export"', "format": f'"{format}"', "inputs": '{ tokens = "tokenize" }'} for format in FORMATS]
    steps = run(mill, folder, base + exports)
    documents = stored(steps / "tokenize")
    end = json.loads((steps / "tokenize/manifest.json").read_text())["facts"]["eos_id"]
    for format in FORMATS:
        totals = [same(f"{format}, {split}", theirs(format, steps / f"to_{format}/files", split, end), documents[split]) for split in SPLITS]
        print(f"export {format}: {totals} documents and tokens alike in {SPLITS}")
    everything = datasets.load_from_disk(str(steps / "to_huggingface/files"))
    assert sorted(everything) == SPLITS, everything
    for wide in (False, True):
        imports = []
        for format in FORMATS:
            paths = {split: [str(write(format, folder / f"theirs-{wide}/{format}/{split}", documents[split], wide))] for split in SPLITS}
            paths = "{ " + ", ".join(f"{split} = {json.dumps(path)}" for split, path in paths.items()) + " }"
            imports.append({"name": f'"from_{format}"', "stage": '"import-tokens"', "format": f'"{format}"', "paths": paths})
        steps = run(mill, folder, base + imports)
        for format in FORMATS:
            found = stored(steps / f"from_{format}")
            keeps_ids = format in ("mds", "huggingface")
            for split in SPLITS:
                pairs = [(name if keeps_ids else None, ids) for name, ids in found[split].items()]
                same(f"import {format}, {split}", pairs, documents[split])
            print(f"import {format} ({'wide' if wide else 'uint16'}): alike")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mill", default="mill", help="the program mill")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this folder and keep it")
    parser.add_argument("--golden", type=pathlib.Path, help="write the golden files here")
    parser.add_argument("corpus", nargs="?", type=pathlib.Path, metavar="CORPUS.jsonl")
    args = parser.parse_args()
    if args.golden:
        return golden(args.golden)
    if not args.corpus:
        parser.error("CORPUS.jsonl is missing")
    with tempfile.TemporaryDirectory() as folder:
        folder = args.keep or pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        check(args.mill, args.corpus.absolute(), folder)


if __name__ == "__main__":
    sys.exit(main())
