"""What must hold of a published run whatever happened to its drivers, workers and store.

Nothing here uses the product's own code to read: local files and boto3, and pyarrow on bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def files_below(folder: str, begins: str = "") -> dict[str, bytes]:
    """Every file below a local or ``s3://`` folder, by its name relative to it.

    Args:
        folder: the folder.
        begins: only of names that begin so.
    """
    if not folder.startswith("s3://"):
        root = Path(folder)
        below: dict[str, bytes] = {}
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            with suppress(FileNotFoundError):  # a driver at work renames and removes its own
                if name.startswith(begins) and path.is_file():
                    below[name] = path.read_bytes()
        return below
    client, bucket, prefix = _s3(folder)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + begins)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {
        key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in keys
    }


def kept(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that must be the same bytes in every run of one job, named from the run's folder.

    The lease, the report and the pointer speak of sessions; run.json names the output folder.
    """
    return {
        name.partition("/")[2]: data
        for name, data in files.items()
        if "/" in name
        and name.partition("/")[2] not in ("lease.json", "report.json", "run.json")
        and not name.endswith((".tmp", ".lock"))  # of a killed write; readers never see them
    }


def problems(output: str, table: pa.Table, reference: dict[str, bytes]) -> list[str]:
    """Whatever is wrong with the run below ``output``; nothing when it is exact.

    Args:
        output: the job's output folder, which holds one run.
        table: the input in the long layout.
        reference: :func:`kept` of a run that nothing happened to.
    """
    files = files_below(output)
    runs = {name.partition("/")[0] for name in files if "/" in name}
    if len(runs) != 1:
        return [f"{len(runs)} runs: {sorted(runs)}"]
    [run] = runs
    found = [*_pointer(files, run), *_rows(files, table), *_manifest(files, run)]
    now = kept(files)
    for name in sorted(now.keys() | reference.keys()):
        if name.startswith("attempts/"):
            found.append(f"left behind: {name}")
        elif now.get(name) != reference.get(name):
            state = "missing" if name not in now else "other bytes, or too much"
            found.append(f"{name}: {state}")
    return found


def published(output: str) -> str | None:
    """The run that readers see through the pointer; None before publication."""
    data = files_below(output, "LATEST.json").get("LATEST.json")
    return None if data is None else str(json.loads(data)["run_id"])


def report(output: str) -> dict[str, Any]:
    """``report.json`` of the one run below ``output``."""
    [data] = [d for name, d in files_below(output).items() if name.endswith("/report.json")]
    found: dict[str, Any] = json.loads(data)
    return found


def _pointer(files: dict[str, bytes], run: str) -> list[str]:
    if "LATEST.json" not in files:
        return ["no pointer"]
    pointer = json.loads(files["LATEST.json"])
    wrong = [] if pointer["run_id"] == run else [f"the pointer names {pointer['run_id']}"]
    if pointer["manifest"] not in files:
        wrong.append("the pointer's manifest is missing")
    return wrong + ([] if f"{run}/_SUCCESS" in files else ["no _SUCCESS"])


def _rows(files: dict[str, bytes], table: pa.Table) -> list[str]:
    """Every query in one unit, every candidate once; unscored ones last and in the quarantine."""
    wrong: list[str] = []
    units_of: dict[str, set[str]] = {}
    pairs: Counter[tuple[str, str]] = Counter()
    rejected: Counter[tuple[str, str, str]] = Counter()
    for name, data in files.items():
        if "/ranked/" not in name or name.endswith(".tmp"):
            continue  # a worker that was killed before its file had its name leaves a hidden one
        unit = Path(name).name.split(".")[0]
        for row in pq.read_table(io.BytesIO(data)).to_pylist():
            units_of.setdefault(row["query_id"], set()).add(unit)
            pairs[row["query_id"], row["doc_id"]] += 1
            if (row["score"] is None) != (row["reason"] is not None):
                wrong.append(f"score and reason of {row['query_id']}, {row['doc_id']}")
            if row["reason"] is not None:
                rejected[row["query_id"], row["doc_id"], row["reason"]] += 1
    wanted = Counter(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    if pairs != wanted:
        wrong.append(f"candidates: missing {wanted - pairs}, too many {pairs - wanted}")
    wrong += [f"{query} stands in {units}" for query, units in units_of.items() if len(units) > 1]
    quarantine: Counter[tuple[str, str, str]] = Counter()
    for name, data in files.items():
        if "/quarantine/" in name:
            for row in pq.read_table(io.BytesIO(data)).to_pylist():
                quarantine[row["query_id"], row["doc_id"], row["reason"]] += 1
    if quarantine != rejected:
        wrong.append(f"quarantine: {quarantine} instead of {rejected}")
    return wrong


def _manifest(files: dict[str, bytes], run: str) -> list[str]:
    manifest = json.loads(files.get(f"{run}/manifest.json", b"{}"))
    if not manifest:
        return ["no manifest"]
    listed = [file for unit in manifest["units"] for file in unit["files"]]
    wrong = []
    for file in listed:
        data = files.get(f"{run}/{file['key']}", b"")
        if (len(data), hashlib.sha256(data).hexdigest()) != (file["size"], file["sha256"]):
            wrong.append(f"the manifest is wrong about {file['key']}")
    stored = {n.partition("/")[2] for n in files if "/unit-" in n and not n.endswith(".tmp")}
    if stored != {file["key"] for file in listed}:
        wrong.append("the manifest names other files than there are")
    return wrong


def _s3(folder: str) -> tuple[Any, str, str]:
    import boto3
    from botocore.config import Config

    checks = {
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    return boto3.client("s3", config=Config(**checks)), bucket, f"{prefix.rstrip('/')}/"
