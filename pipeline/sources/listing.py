"""The files of one role: by name, in folders, by globs, or in the folder of a BEIR collection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.kinds import is_run
from pipeline.sources.roles import Role
from pipeline.sources.streams import read_head
from pipeline.storage.lance_tables import lance_table
from pipeline.storage.store import (
    FileIdentity,
    distinct_files,
    identify,
    is_folder,
    join,
    list_files,
    list_names,
)

logger = logging.getLogger("pipeline")

_COMPRESSED: Final = ("", ".gz", ".zst", ".bz2")
_PLAIN: Final = (".parquet", ".pq", ".jsonl", ".ndjson", ".tsv", ".csv", ".txt", ".trec", ".run")

#: Endings of the files of a folder that are read.
ENDINGS: Final = tuple(
    f"{plain}{compressed}" for plain in _PLAIN for compressed in _COMPRESSED
    if not (compressed and plain in (".parquet", ".pq"))
)  # fmt: skip

#: Files of a BEIR collection (https://github.com/beir-cellar/beir).
_CORPUS: Final = tuple(f"corpus.jsonl{compressed}" for compressed in _COMPRESSED)
_QUERIES: Final = tuple(f"queries.jsonl{compressed}" for compressed in _COMPRESSED)


def files_of(role: Role, patterns: Sequence[str]) -> list[FileIdentity]:
    """The files that some paths name, each once and in order of their names.

    The folder of a Lance table is one :class:`~pipeline.storage.lance_tables.LanceTable`.

    Raises:
        NotFoundError: a path matches nothing.
    """
    listed = [file for pattern in patterns for file in _files_at(role, pattern)]
    once = distinct_files(listed)
    linked = {file.path for file in listed} - {file.path for file in once}
    if linked:
        logger.warning(
            "files of the %s that are links to others, and are read once: %d, e.g. %s",
            role, len(linked), min(linked),
        )  # fmt: skip
    return once


def resolved(config: InputConfig) -> InputConfig:
    """The input with its files named, where a path is the folder of a BEIR collection.

    As input.path such a folder is the run in it, with its corpus and its queries; as input.corpus
    it brings its queries along.

    Raises:
        InputContractError: there is no run in it, or more than one; or corpus or queries are
            missing. Says which, and how to name what is meant.
    """
    found: dict[str, tuple[str, ...]] = {}
    folders = [path for path in config.path if _is_collection(path)]
    if folders:
        if len(config.path) > 1:
            raise InputContractError(
                f"{folders[0]}: the folder of a BEIR collection stands among other paths of "
                "input.path; rerank collections one by one, or name runs, input.corpus and "
                "input.queries"
            )
        found["path"] = (_run_in(folders[0]),)
        found["corpus"] = config.corpus or (_part(folders[0], _CORPUS, "corpus"),)
        found["queries"] = config.queries or (_part(folders[0], _QUERIES, "queries"),)
    elif config.corpus is not None and config.queries is None:
        beside = [
            join(path, name)
            for path in config.corpus if _is_collection(path)
            for name in _first(list_names(path), _QUERIES)
        ]  # fmt: skip
        if beside:
            found["queries"] = tuple(beside)
    return config.model_copy(update=found) if found else config


def _files_at(role: Role, pattern: str) -> list[FileIdentity]:
    if role != "candidates" and _is_collection(pattern):
        names = _CORPUS if role == "corpus" else _QUERIES
        return [identify(_part(pattern, names, role))]
    table = lance_table(pattern)
    if table is not None:
        return [table]
    found = list_files(pattern, suffix=ENDINGS)
    if role == "candidates" and is_folder(pattern):
        runs = [file for file in found if not _of_judgements(file.path, pattern)]
        return runs or found
    return found


def _is_collection(path: str) -> bool:
    return is_folder(path) and bool(_first(list_names(path), (*_CORPUS, *_QUERIES)))


def _part(folder: str, wanted: Sequence[str], role: str) -> str:
    names = list_names(folder)
    found = _first(names, wanted)
    if not found:
        raise InputContractError(
            f"{folder}: a BEIR collection without {wanted[0]} (or {wanted[0]}.gz); files found: "
            f"{', '.join(names)}. Name another with --set input.{role}=FILE"
        )
    return join(folder, found[0])


def _run_in(folder: str) -> str:
    names = list_names(folder)
    given = [
        name for name in names
        if name not in (*_CORPUS, *_QUERIES) and not name.startswith((".", "_", "qrels"))
        and name.endswith(ENDINGS)
    ]  # fmt: skip
    runs = [name for name in given if name.startswith("run") or _is_run(join(folder, name))]
    if len(runs) == 1:
        return join(folder, runs[0])
    told = (
        f"{len(runs)} files are runs: {', '.join(runs)}" if runs
        else f"no file in it is a run (files found: {', '.join(names)}; qrels are no candidates)"
    )  # fmt: skip
    raise InputContractError(
        f"{folder}: a BEIR collection of which {told}. Name the run: --set "
        f"input.path={join(folder, runs[0] if runs else 'run.trec')} --set input.corpus={folder}"
    )


def _is_run(path: str) -> bool:
    """Whether a file is a TREC run by its first lines."""
    return is_run(read_head(identify(path), 1e9).data)


def _of_judgements(path: str, folder: str) -> bool:
    inside = path[len(folder) :] if path.startswith(folder) else path.rpartition("/")[2]
    return any(part.startswith("qrels") for part in inside.strip("/").split("/"))


def _first(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    return [name for name in wanted if name in names][:1]
