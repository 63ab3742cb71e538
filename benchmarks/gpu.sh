#!/usr/bin/env bash
# Refresh the GPU figures: the set of benchmarks/gpu.py, in two parts of under four and a half minutes
# each on one H100; and before that, as part 0, the tests that are for a GPU.
#
#   benchmarks/gpu.sh --part 0                 the tests that are for a GPU, into $OUT/gpu-tests.txt
#   benchmarks/gpu.sh --part 1                 results go to $OUT, else to benchmarks/results
#   benchmarks/gpu.sh --only msmarco-minilm-l6
#   benchmarks/gpu.sh --device cpu --size s --shape tiny --rounds 1      try it without a GPU
#
# Runs with the machine's own Python ($PYTHON, else python3) and from this checkout: nothing is
# installed or fetched. Without Ray the runs through it are left out. It needs torch, transformers,
# tokenizers, safetensors, numpy, pyarrow, pillow, fsspec, pyyaml, pydantic, typer and rich, and its
# tests pytest and hypothesis; with sentence-transformers there are more peers. What the machine lacks
# may lie as wheels in $WHEELS (else ./wheels), where `python -m benchmarks.gpu_wheels wheels` puts it.
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

if compgen -G "$wheels/*.whl" >/dev/null; then
    unpacked="$(mktemp -d)"
    trap 'rm -rf "$unpacked"' EXIT
    # By hand, since `python -m zipfile` forgets which files are programs.
    "$python" - "$unpacked" "$wheels"/*.whl <<'PYTHON'
import os
import sys
import zipfile

to, *wheels = sys.argv[1:]
for wheel in wheels:
    with zipfile.ZipFile(wheel) as file:
        for entry in file.infolist():
            path = file.extract(entry, to)
            if entry.external_attr >> 16 & 0o111 and not entry.is_dir():
                os.chmod(path, 0o755)
PYTHON
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
if [[ "${1:-}" == --part && "${2:-}" == 0 ]]; then
    shift 2
    mkdir -p "$out"
    mapfile -t files < <(grep -rlE 'mark\.gpu\b' tests --include='test_*.py')
    options=(-m gpu -v -rfE --tb=short -p no:cacheprovider)
    # Each result is there at once, and a test that hangs is ended where the plug-in is there for it.
    "$python" -c 'import pytest_timeout' 2>/dev/null && options+=(--timeout=90)
    "$python" -c 'import xdist' 2>/dev/null && options+=(-n "${WORKERS:-8}")
    export TORCHINDUCTOR_COMPILE_THREADS=1 # a pool of compilers for each of these processes is slower
    timeout --signal=INT --kill-after=15 "${SECONDS_OF_TESTS:-180}" \
        "$python" -m pytest "${options[@]}" "$@" "${files[@]}" 2>&1 | tee "$out/gpu-tests.txt"
    exit
fi
"$python" -m benchmarks.gpu --out "$out" "$@"
