#!/bin/sh
# Two nights of a job that scores only what has changed. Needs no weights and no Ray, and `python` of
# the environment that `rerank` is in.
set -eu
here=$(dirname "$0")
work=out/examples
mkdir -p "$work/nights"
rerank demo --out "$work/demo" --model lexical > /dev/null
cp "$work/demo/candidates.parquet" "$work/nights/2026-01-30.parquet"

# In the second night one document in a hundred has another text.
python - "$work/nights" <<'PYTHON'
import sys

import pyarrow as pa
import pyarrow.parquet as pq

rows = pq.read_table(f"{sys.argv[1]}/2026-01-30.parquet").to_pylist()
changed = set(sorted({row["doc_id"] for row in rows})[::100])
for row in rows:
    if row["doc_id"] in changed:
        row["text"] += " Changed overnight."
pq.write_table(pa.Table.from_pylist(rows), f"{sys.argv[1]}/2026-01-31.parquet")
PYTHON

rerank refresh -c "$here/refresh.yaml" --date 2026-01-30
rerank refresh -c "$here/refresh.yaml" --date 2026-01-31 --dry-run   # what would be scored
rerank refresh -c "$here/refresh.yaml" --date 2026-01-31
rerank latest "$work/refresh"
rerank rollback "$work/refresh" --reason "the first night was better"
