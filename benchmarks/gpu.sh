#!/usr/bin/env bash
# Refresh the GPU figures: the set of benchmarks/gpu.py, in two parts of under four and a half minutes
# each on one H100.
#
#   benchmarks/gpu.sh --part 1                 results go to $OUT, else to benchmarks/results
#   benchmarks/gpu.sh --only msmarco-minilm-l6
#   benchmarks/gpu.sh --device cpu --size s --shape tiny --rounds 1      try it without a GPU
#
# Runs with the machine's own Python ($PYTHON, else python3) and from this checkout: nothing is
# installed or fetched. Without Ray the runs through it are left out. It needs torch, transformers, tokenizers, safetensors,
# numpy, pyarrow, pillow, fsspec, pyyaml, pydantic, typer and rich; with sentence-transformers there
# are more peers. What the machine lacks may lie as wheels in $WHEELS (else ./wheels), for example:
#
#   pip download --only-binary=:all: --python-version 3.12 --platform manylinux_2_17_x86_64 \
#       -c constraints.txt -d wheels pydantic
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
out="${OUT:-benchmarks/results}"
wheels="${WHEELS:-wheels}"
needed=(torch transformers tokenizers safetensors numpy pyarrow PIL fsspec yaml pydantic typer rich)

missing() {
    "$python" - "${needed[@]}" <<'PYTHON'
import importlib.util
import sys

print(" ".join(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
PYTHON
}

if [[ -n "$(missing)" && -d "$wheels" ]]; then
    unpacked="$(mktemp -d)"
    trap 'rm -rf "$unpacked"' EXIT
    shopt -s nullglob
    for wheel in "$wheels"/*.whl; do
        "$python" -m zipfile -e "$wheel" "$unpacked"
    done
    # These come before the machine's own packages: only what it lacks belongs there.
    PYTHONPATH="$unpacked${PYTHONPATH:+:$PYTHONPATH}"
fi

export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-true}"
still="$(missing)"
if [[ -n "$still" ]]; then
    echo "benchmarks/gpu.sh: $python lacks: $still; put their wheels into $wheels" >&2
    exit 2
fi
"$python" -m benchmarks.gpu --out "$out" "$@"
