"""Sources read as plain rows, and files for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config import InputConfig
from pipeline.sources.source import Role, open_source, read_shard

Rows = list[dict[str, Any]]


def rows_of(
    role: Role, paths: Sequence[str] | str | Path, target: int = 1 << 30, **settings: Any
) -> Rows:
    """Every row of a source, read in shards of about ``target`` bytes.

    Candidates are by reference unless ``corpus`` and ``queries`` are None.
    """
    named = [str(paths)] if isinstance(paths, (str, Path)) else [str(path) for path in paths]
    passed = settings.pop("pass_through", ())
    config = InputConfig(**{"path": named, "corpus": ["x"], "queries": ["x"], **settings})
    source = open_source(role, named, config, pass_through=passed)
    found: Rows = []
    for shard in source.shards(target):
        for table in read_shard(source, shard):
            assert table.schema.equals(source.schema)
            found += table.to_pylist()
    return found


def plain(rows: Rows) -> Rows:
    """Rows without their places, and without reasons where there is none."""
    return [
        {
            name: value
            for name, value in row.items()
            if not name.startswith("_") and not (name in ("reason", "message") and value is None)
        }
        for row in rows
    ]


def write(path: Path, content: bytes | str) -> Path:
    """A file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
