"""The files of an input: which of them can be read, and what the product says of the others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from pipeline.candidates.inputs import Input, open_input
from pipeline.config import InputConfig
from pipeline.errors import InputContractError, RerankError
from pipeline.storage.store import FileIdentity, distinct_files, list_files


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a run would stop at.

    Attributes:
        path: the file; empty where it is about the input as a whole.
        message: the sentence that the run would end with.
    """

    path: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of an input.

    Attributes:
        listed: all of them, by path.
        links: paths of files that are links to others among them, and are read once.
        usable: those that can be read together; None where there are none.
        refusals: what is wrong with the others, and with the input as a whole.
    """

    listed: tuple[FileIdentity, ...]
    links: tuple[str, ...]
    usable: Input | None
    refusals: tuple[Refusal, ...]


def find_files(config: InputConfig, *, pass_through: tuple[str, ...] = ()) -> Files:
    """Open an input as a run does, and without the files that a run would refuse.

    Files are not hashed: what they are is looked at, not kept.

    Raises:
        ConfigurationError: a setting is wrong whatever the files are.
        NotFoundError: a path matches nothing.
    """
    config = config.model_copy(update={"hash_mib": 0.0})
    found = [file for pattern in config.path for file in list_files(pattern)]
    listed = distinct_files(found)
    links = {file.path for file in found} - {file.path for file in listed}
    usable, refusals = _opened(config, listed, pass_through)
    return Files(
        listed=tuple(listed), links=tuple(sorted(links)), usable=usable, refusals=tuple(refusals)
    )


def _opened(
    config: InputConfig, listed: list[FileIdentity], pass_through: tuple[str, ...]
) -> tuple[Input | None, list[Refusal]]:
    try:
        return open_input(config, pass_through=pass_through), []
    except InputContractError as error:
        whole = Refusal(path="", message=str(error))

    def alone(file: FileIdentity) -> Input | Refusal:
        return _attempt(config, [file.path], pass_through)

    with ThreadPoolExecutor(8) as pool:
        looked = list(pool.map(alone, listed))
    refusals = [each for each in looked if isinstance(each, Refusal)]
    good = [file.path for file, each in zip(listed, looked, strict=True) if isinstance(each, Input)]
    if not good:
        return None, refusals or [whole]
    together = _attempt(config, good, pass_through)
    if isinstance(together, Input):
        return together, refusals or [whole]
    return _agreeing(config, good, pass_through, refusals)


def _agreeing(
    config: InputConfig, paths: list[str], pass_through: tuple[str, ...], refusals: list[Refusal]
) -> tuple[Input | None, list[Refusal]]:
    """The files that agree with the first one on layout and types."""
    kept = paths[:1]
    for path in paths[1:]:
        found = _attempt(config, [kept[0], path], pass_through)
        if isinstance(found, Input):
            kept.append(path)
        else:
            refusals.append(Refusal(path=path, message=found.message))
    together = _attempt(config, kept, pass_through)
    if isinstance(together, Input):
        return together, refusals
    return None, [*refusals, together]


def _attempt(
    config: InputConfig, paths: list[str], pass_through: tuple[str, ...]
) -> Input | Refusal:
    update = {"path": tuple(paths), "allow_empty": True}
    try:
        return open_input(config.model_copy(update=update), pass_through=pass_through)
    except RerankError as error:
        return Refusal(path=paths[-1], message=str(error))


def row_groups(source: Input) -> Iterator[tuple[int, int, int]]:
    """First global row, rows and candidates of each row group that has rows."""
    return chain.from_iterable(_of_file(source, place) for place in range(len(source.files)))


def _of_file(source: Input, place: int) -> Iterator[tuple[int, int, int]]:
    file = source.files[place]
    start = file.first
    for rows, documents in zip(file.row_groups, file.documents, strict=True):
        if rows:
            yield start, rows, documents
        start += rows
