#!/bin/sh
# Which model ranks these lists best, and may the first stage have a say? After rerank.sh.
set -eu
here=$(dirname "$0")
work=out/examples
qrels=$here/../conf/demo/qrels.tsv

# Two models on the same twenty queries: how good, how fast, how alike.
rerank compare -c "$work/rerank.yaml" --qrels "$qrels" --sample 20 \
    --model lexical --model all-minilm-l6-v2

# A fusion with the first stage, tuned on some judged queries and measured on the others.
rerank evaluate "$work/runs" --qrels "$qrels" --tune-fusion
