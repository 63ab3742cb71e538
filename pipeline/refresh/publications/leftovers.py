"""What lies beside runs and publications and is named by none: tables, changes, announcements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from datetime import datetime
from functools import partial
from typing import Any, Final

from pipeline.execution.runs.garbage import Garbage
from pipeline.refresh.publications.claims import CLAIMS, MARKS, announced
from pipeline.storage.files import FILE, FOLDER
from pipeline.storage.store import (
    delete,
    join,
    last_modified,
    list_entries,
    remove_empty,
)

#: Folders beside the runs: tables of scores that may be used again, and changes between two runs.
REUSE: Final = "_reuse"
CHANGES: Final = "_changes"

_MANIFEST: Final = "manifest.json"
_TABLE: Final = re.compile(r"[0-9a-f]{16}")
_BETWEEN: Final = re.compile(r"(none|[0-9a-f]{16})-([0-9a-f]{16})")


def unnamed_folders(
    root: str, runs: Mapping[str, Mapping[str, Any]], before: datetime
) -> list[Garbage]:
    """Reuse tables that no run was made with, and changes to or from runs that are not there.

    Args:
        root: ``output.path``.
        runs: what ``run.json`` says of each run that stays, by its id.
        before: what was written to since is left, since a night may be in the making.
    """
    used = {(about.get("reuse") or {}).get("table_id") for about in runs.values()}
    tables = [name for name in _folders(root, REUSE) if _TABLE.fullmatch(name) and name not in used]
    ends = {*runs, "none"}
    changes = [
        name
        for name in _folders(root, CHANGES)
        if (found := _BETWEEN.fullmatch(name)) and not ends.issuperset(found.groups())
    ]
    paths = [("reuse", join(root, REUSE, name)) for name in tables]
    paths += [("changes", join(root, CHANGES, name)) for name in changes]
    return [
        Garbage(kind=kind, path=path, remove=partial(_remove_folder, path))
        for kind, path in paths
        if (modified := last_modified(path)) is not None and modified <= before
    ]


def old_announcements(root: str, stays: Set[str], before: datetime) -> list[Garbage]:
    """Claims that a killed publisher left, and marks on runs that stay.

    Raises:
        DamagedRunError: one does not say how old it is.
    """
    found = [("claim", one) for one in announced(root, CLAIMS)]
    found += [("mark", one) for one in announced(root, MARKS) if one.run_id in stays]
    return [
        Garbage(kind=kind, path=one.path, remove=partial(delete, one.path))
        for kind, one in found
        if (made := one.made()) is not None and made <= before
    ]


def _folders(root: str, name: str) -> list[str]:
    return [entry.name for entry in list_entries(join(root, name)) if entry.kind == FOLDER]


def _remove_folder(path: str) -> None:
    """Remove what was made there, the manifest first: without it nothing is taken for whole."""
    delete(join(path, _MANIFEST))
    for entry in list_entries(path):
        if entry.kind == FILE and entry.name.endswith((".parquet", ".json")):
            delete(join(path, entry.name))
    remove_empty(path)
