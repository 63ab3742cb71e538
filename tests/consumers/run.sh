#!/bin/sh
# Loads our exports with the loaders that they are for, each in a virtual environment of its own:
# the consumers pin other versions of what we use, so none of them is a dependency.
#
#   tests/consumers/run.sh [PYTHON]        PYTHON: an interpreter with this project and its extra
#                                          [train] installed; default: .venv/bin/python
#
# An environment sees the packages of PYTHON (torch, transformers, datasets) and adds the consumer
# alone, without its dependencies.
set -eu
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() {
    name=$1
    shift
    "$python" -m venv --without-pip "$work/$name"
    site=$("$work/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/parent.pth"
    "$python" -m pip install --quiet --no-deps --target "$site" "$@"
    "$work/$name/bin/python" -m pytest -q -p no:cacheprovider "tests/consumers/check_$name.py"
}

check flag_embedding FlagEmbedding==1.4.2 peft==0.21.2
check pylate pylate==1.6.0
check tevatron tevatron==0.1.0
