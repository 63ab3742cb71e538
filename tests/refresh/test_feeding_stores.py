"""Runs, publications, changes and the driver of feeds, together with each store."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import lancedb
import psycopg
import pyarrow as pa
import pytest
import redis

from pipeline.config import LeaseConfig
from pipeline.config.feeds import FeedConfig
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.outputs.feeds.support.finding import build
from pipeline.outputs.feeds.support.redis_layout import read
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.changes.making import make_changes
from pipeline.refresh.feeding import feed_targets
from pipeline.refresh.publications.publishing import publish
from tests.makers import long_table
from tests.refresh.changes.runs import job, next_night, rows_of, run_of


def test_every_store_has_the_rows_of_the_publication(
    tmp_path: Path,
    redis_url: str,
    postgresql_address: str,
    fresh_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SEARCH_DB", postgresql_address)
    root, table = str(tmp_path / "out"), long_table(queries=4, documents=4)
    targets: list[dict[str, Any]] = [
        {"kind": "redis", "prefix": fresh_name},
        {"kind": "postgresql", "table": fresh_name, "url_env": "SEARCH_DB"},
        {"kind": "key_value", "path": str(tmp_path / "files")},
        {"kind": "duckdb", "path": str(tmp_path / "served.duckdb")},
        {"kind": "lancedb", "path": str(tmp_path / "lance")},
        {"kind": "delta", "path": str(tmp_path / "delta")},
    ]

    def make(before: RunFolder | None, after: RunFolder) -> Changes:
        return make_changes(root, before, after, job(tmp_path, table))

    for night in range(1, 4):
        run = run_of(tmp_path, table)
        publish(root, run, after=night - 1 or None, date=date(2026, 11, night))
        feeds = [build(FeedConfig.model_validate({"name": t["kind"], **t})) for t in targets]
        done = feed_targets(root, feeds, make=make, lease=LeaseConfig(ttl_s=0.5))
        assert [fed.generation for fed in done] == [night] * len(targets)
        rows = sorted(
            (row["query_id"], row["doc_id"], row["rank"], row["score"]) for row in rows_of(run)
        )
        assert in_postgresql(postgresql_address, fresh_name) == rows
        assert in_tables(tmp_path) == [rows] * 3
        names = sorted({row[0] for row in rows})
        generation, lists = read(redis.Redis.from_url(redis_url), fresh_name, names)
        ranked = {(q, d) for q, found in zip(names, lists, strict=True) for d in found["doc_ids"]}
        assert (generation, ranked) == (night, {row[:2] for row in rows})
        table = next_night(table)


def in_postgresql(address: str, table: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(address) as connection:
        found = connection.execute(
            f"SELECT query_id, doc_id, rank, score::float8 FROM {table}".encode()
        ).fetchall()
    return sorted(found)


def in_tables(folder: Path) -> list[list[tuple[Any, ...]]]:
    """What DuckDB, LanceDB and Delta Lake hold."""
    lance = lancedb.connect(str(folder / "lance")).open_table("rankings")
    lance.checkout("current")
    with duckdb.connect(str(folder / "served.duckdb"), read_only=True) as served:
        tables: list[pa.Table] = [served.sql("FROM rankings").to_arrow_table()]
    tables += [lance.to_arrow(), deltalake.DeltaTable(folder / "delta").to_pyarrow_table()]
    names = ["query_id", "doc_id", "rank", "score"]
    return [
        sorted(zip(*(table[name].to_pylist() for name in names), strict=True)) for table in tables
    ]
