"""The versions of Lance tables that a source is read from, as plain data."""

from __future__ import annotations

from typing import Any

from pipeline.sources.source import Source


def table_facts(source: Source) -> list[dict[str, Any]]:
    """Path, version, rows, deleted rows and fragments of each table; nothing of other formats."""
    return [
        {
            "path": one.lance.table.path,
            "version": one.lance.table.number,
            "rows": one.lance.rows,
            "deleted_rows": sum(fragment.deleted for fragment in one.lance.fragments),
            "fragments": len(one.lance.fragments),
        }
        for one in source.opened
        if one.lance is not None
    ]
