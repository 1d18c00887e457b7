#!/bin/sh
# Installs LibTorch from PyPI into the user's cache, unless LIBTORCH names a folder that has it.
#   install-libtorch.sh          installs; does nothing when it is there
#   install-libtorch.sh --where  prints the folder that LIBTORCH is to name
set -eu

version=2.13.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/corpusmill
if nvidia-smi >/dev/null 2>&1; then
    target=$cache/libtorch-$version-cuda # with everything the GPU needs, 4.7 GB
    packages="torch==$version"
else
    # A CPU program links to these parts of the CUDA runtime, no others: 1.2 GB.
    target=$cache/libtorch-$version-cpu
    packages="--no-deps torch==$version nvidia-cuda-runtime==13.0.* nvidia-cuda-cupti==13.0.*"
fi
libtorch=${LIBTORCH:-$target/torch}

if [ "${1:-}" = --where ]; then
    echo "$libtorch"
    exit
fi
[ -e "$libtorch/lib/libtorch_cpu.so" ] && exit
if [ "$libtorch" != "$target/torch" ]; then
    echo "LIBTORCH=$libtorch has no lib/libtorch_cpu.so; fix: name a folder of LibTorch $version, or unset LIBTORCH" >&2
    exit 1
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "missing: Python 3.10 or newer (python3), which fetches LibTorch; fix: apt-get install python3, or the like" >&2
    exit 1
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "missing: pip for $(command -v python3), which fetches LibTorch; fix: apt-get install python3-pip, or python3 -m ensurepip" >&2
    exit 1
fi

# Into a folder of its own first: what has the final name is complete.
mkdir -p "$cache"
draft=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$draft"' EXIT
echo "installing LibTorch $version into $target" >&2
set -f # the versions hold asterisks
# shellcheck disable=SC2086
PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --target "$draft" $packages >&2
chmod 755 "$draft"
# Another installation may have come first.
mv -T "$draft" "$target" 2>/dev/null || [ -e "$libtorch/lib/libtorch_cpu.so" ]
