"""What lies in a run's folder and is not the run's: found by name and kind, without reading.

Names that begin with a dot or an underscore are skipped by every Parquet reader, and here as well
(``.DS_Store``, our own temporary files and locks). Whatever else the run did not make is strange: a
reader that takes all files of a folder would read it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final

from pipeline.errors import DamagedRunError
from pipeline.execution.runs import attempts, holder
from pipeline.execution.runs.run_folder import (
    MANIFEST,
    PLAN,
    QUARANTINE,
    RANKED,
    REPORT,
    REPORT_PAGE,
    RUN,
    SUCCESS,
    RunFolder,
    folders_of,
)
from pipeline.storage.files import FILE, FOLDER
from pipeline.storage.store import Entry, join, list_entries

_FILES: Final = frozenset({RUN, PLAN, MANIFEST, REPORT, REPORT_PAGE, SUCCESS, holder.NAME})
_FOLDERS: Final = (RANKED, QUARANTINE, attempts.FOLDER)

#: Lists a folder, as :func:`pipeline.storage.store.list_entries` does.
Entries = Callable[[str], Sequence[Entry]]

#: How many names an error lists.
_NAMED: Final = 10


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing in a run's folder that is not as it was written.

    Attributes:
        kind: missing, damaged or strange.
        path: where.
        why: in words.
        at_odds: the file is whole, but is not the one that the manifest lists.
    """

    kind: str
    path: str
    why: str
    at_odds: bool = False

    def __str__(self) -> str:
        # A name may hold anything, a line break too.
        path = self.path if self.path.isprintable() else repr(self.path)
        return f"{path}: {self.why}"


def listed_once(
    folder: RunFolder, formats: Collection[str], *, entries: Entries = list_entries
) -> Entries:
    """Lists each folder of a run once, all of them side by side; none that is not there.

    A folder of 10,000 units is ten requests to an object store, one after the other.

    Args:
        folder: the run.
        formats: its ``output.formats``.
        entries: lists a folder.
    """
    once = cache(entries)
    there = {entry.name for entry in once(folder.path)}
    names = [RANKED, QUARANTINE, attempts.FOLDER, *folders_of(formats)]
    absent = {join(folder.path, name) for name in names if name not in there}
    present = [join(folder.path, name) for name in names if name in there]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(once, present))
    return lambda path: () if path in absent else once(path)


def strange_names(
    folder: RunFolder,
    files: Mapping[str, int | None],
    units: Collection[str] = (),
    formats: Collection[str] = (),
    *,
    entries: Entries = list_entries,
) -> list[Problem]:
    """Everything in the folder that the run did not make.

    Args:
        folder: the run.
        files: keys of the files of committed units, such as ``ranked/unit-….parquet``.
        units: units that are not committed; any file that is named for one may be in the making.
        formats: ``output.formats`` of the run; each but Parquet has a folder of its name.
        entries: lists a folder.
    """
    found: list[Problem] = []
    loose = frozenset(units)
    folders = {*_FOLDERS, *folders_of(formats), *(key.partition("/")[0] for key in files)}
    for entry in _visible(entries(folder.path)):
        expected = FOLDER if entry.name in folders else FILE
        if entry.name not in _FILES and entry.name not in folders:
            found.append(_strange(folder, "", entry))
        elif entry.kind != expected:
            why = f"a {entry.kind}, where a {expected} of the run is expected"
            found.append(Problem(kind="strange", path=join(folder.path, entry.name), why=why))
        elif entry.name == attempts.FOLDER:
            found += [
                _strange(folder, entry.name, inner)
                for inner in _visible(entries(join(folder.path, entry.name)))
                if inner.kind != FILE or attempts.Marker.from_name(inner.name) is None
            ]
        elif entry.kind == FOLDER:
            found += [
                _strange(folder, entry.name, inner)
                for inner in _visible(entries(join(folder.path, entry.name)))
                if inner.kind != FILE
                or (
                    f"{entry.name}/{inner.name}" not in files
                    and folder.unit_of(f"{entry.name}/{inner.name}") not in loose
                )
            ]
    return found


def wrong_sizes(
    folder: RunFolder, files: Mapping[str, int | None], *, entries: Entries = list_entries
) -> list[Problem]:
    """Files that are not there, or are not as large as they were written.

    Args:
        folder: the run.
        files: size in bytes by key; None: any.
        entries: lists a folder.
    """
    sizes = {
        f"{name}/{entry.name}": entry.size
        for name in {key.partition("/")[0] for key in files}
        for entry in entries(join(folder.path, name))
        if entry.kind == FILE
    }
    found: list[Problem] = []
    for key, size in files.items():
        path = join(folder.path, key)
        if key not in sizes:
            found.append(Problem(kind="missing", path=path, why="missing"))
        elif size is not None and sizes[key] != size:
            why = f"{sizes[key]:,} bytes, not the {size:,} that were written"
            found.append(Problem(kind="damaged", path=path, why=why))
    return found


def error_of(folder: RunFolder, problems: list[Problem]) -> DamagedRunError:
    """One error that names what is wrong and how to go on."""
    lines = [f"  {problem}" for problem in problems[:_NAMED]]
    if len(problems) > _NAMED:
        lines.append(f"  and {len(problems) - _NAMED} more; `rerank status --check` names them all")
    listed = "\n".join(lines)
    return DamagedRunError(
        f"{folder.path}: not as it was written ({len(problems)}):\n{listed}\n{advice(problems)}"
    )


def advice(problems: list[Problem]) -> str:
    """What to do about them."""
    kinds = {problem.kind for problem in problems}
    sentences = []
    if "strange" in kinds:
        sentences.append(
            "Move away what is strange: the run did not make it, and nothing removes it."
        )
    if kinds - {"strange"}:
        sentences.append(
            "Put back what is missing or damaged from a copy, or let `rerank run --repair` make it "
            "anew."
        )
    return " ".join(sentences)


def _visible(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (
        entry for entry in entries if entry.name == SUCCESS or not entry.name.startswith((".", "_"))
    )


def _strange(folder: RunFolder, inside: str, entry: Entry) -> Problem:
    path = join(folder.path, inside, entry.name) if inside else join(folder.path, entry.name)
    return Problem(kind="strange", path=path, why=f"a {entry.kind} that this run did not make")
