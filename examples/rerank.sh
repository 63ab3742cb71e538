#!/bin/sh
# Candidate lists in, ranked and scored lists out.
set -eu
here=$(dirname "$0")
work=out/examples
mkdir -p "$work"

# The demo searches Python's documentation. Of it only the candidates are wanted, which stand for yours.
rerank demo --out "$work/demo" --model lexical > /dev/null
candidates=$work/demo/candidates.parquet

# What is it, what would be refused, what fits? Then a complete job file for it.
rerank inspect "$candidates"
rerank init "$candidates" --model all-minilm-l6-v2 --output "$work/runs" > "$work/rerank.yaml"

# Everything is checked and nothing scored; then the run. Run again, it finds itself finished.
rerank run -c "$work/rerank.yaml" --dry-run
rerank run -c "$work/rerank.yaml"
rerank status "$work/runs"

# Is it better than the first stage?
rerank evaluate "$work/runs" --qrels "$here/../conf/demo/qrels.tsv"
