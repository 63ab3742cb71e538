"""The input of a job as it is read: itself, or a staged copy that is made first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pipeline import schema
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.order import order_of
from pipeline.config import InputConfig, JobConfig
from pipeline.execution.task_session import TaskSession, task_session
from pipeline.sources.listing import resolved
from pipeline.staging.copy_folder import CopyFolder, damaged_error
from pipeline.staging.in_process import InProcess
from pipeline.staging.making import Place, Staging, make, open_staging
from pipeline.staging.needs import FOLDER, reads_as_it_is
from pipeline.staging.strategy import Sizes
from pipeline.staging.survey import ShardRuns
from pipeline.staging.work import Record, Work
from pipeline.storage.store import absolute, join

logger = logging.getLogger("pipeline")

#: How much is done at once.
SIZES = Sizes()

#: How often a copy is made whose files are not what was written.
_ATTEMPTS = 2


class NotStagedError(Exception):
    """There is no staged copy yet; says how one would be made."""

    def __init__(self, staging: Staging) -> None:
        super().__init__("no staged copy")
        self.staging = staging


class OtherCopyError(Exception):
    """What the input is now makes another copy than the one that is needed."""

    def __init__(self, sources: list[dict[str, Any]]) -> None:
        super().__init__("another copy")
        self.sources = sources


@dataclass(frozen=True, kw_only=True)
class StagedInput:
    """A copy that is read in place of an input.

    Attributes:
        folder: where it is.
        manifest: of the copy.
        config: how it is read.
        seconds: that making it took now; 0 where it was there.
    """

    folder: CopyFolder
    manifest: dict[str, Any]
    config: InputConfig
    seconds: float

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return sum(int(part["bytes"]) for part in self.manifest["written"])

    def report(self) -> dict[str, Any]:
        """What ``report.json`` says of it."""
        return {
            "strategy": self.manifest["strategy"]["kind"],
            "parts": len(self.manifest["written"]),
            "bytes": self.size_bytes,
            "rows": sum(int(part["rows"]) for part in self.manifest["written"]),
            "seconds": round(self.seconds, 3),
        }

    def described(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        return {
            "folder": self.folder.path,
            "copy_id": self.folder.copy_id,
            "strategy": self.manifest["strategy"]["kind"],
            "reason": self.manifest["strategy"]["reason"],
            "sources": self.manifest["sources"],
            "input": self.config.model_dump(mode="json"),
        }


def opened(
    config: JobConfig, staying: ExitStack, *, copy_id: str | None = None, stage: bool = True
) -> tuple[Input, StagedInput | None]:
    """Open the input of a job, or a staged copy of it, which is made where it is not there.

    Args:
        config: the job.
        staying: takes Ray over, where it is started.
        copy_id: the copy that must come of it; None: any.
        stage: whether a copy may be made.

    Raises:
        NotStagedError: there is none, and none may be made.
        OtherCopyError: the copy is another.
        RerankError: see the classes of what reads.
    """
    scattered = False
    given = resolved(config.input)
    if reads_as_it_is(given):
        source = open_input(given, pass_through=config.output.columns)
        scattered = given.order == "auto" and order_of(source).kind == "scattered"
        if not scattered and given.order != "scattered":
            return source, None
    staging = open_staging(
        given,
        columns=config.output.columns,
        folder=_folder(config),
        scattered=scattered,
        sizes=SIZES,
    )
    if copy_id not in (None, staging.folder.copy_id):
        raise OtherCopyError([source.described() for source in staging.sources.all])
    begun = time.monotonic()
    for _ in range(_ATTEMPTS):
        manifest, made = staging.folder.manifest(), False
        if manifest is None:
            if not stage:
                raise NotStagedError(staging)
            manifest, made = make(staging, lambda: _place(config, staying)), True
        staged = StagedInput(
            folder=staging.folder, manifest=manifest, config=staged_config(given, staging,
            manifest), seconds=time.monotonic() - begun if made else 0.0,
        )  # fmt: skip
        damaged = staging.folder.missing(manifest)
        if not damaged:
            source = open_input(staged.config, pass_through=config.output.columns, staged=True)
            damaged = staging.folder.damaged(manifest, [file.identity for file in source.files])
        if not damaged:
            return source, staged
        if not stage:
            raise NotStagedError(staging)
        logger.warning(
            "%s: not what was written there; %d part(s) of the staged copy are made anew",
            staging.folder.part(damaged[0]), len(damaged),
        )  # fmt: skip
        staging.folder.forget(damaged)
    raise damaged_error(staging.folder, damaged)


def staged_config(given: InputConfig, staging: Staging, manifest: dict[str, Any]) -> InputConfig:
    """How the copy of an input is read: its files, by our own names of columns."""
    columns = set(manifest["columns"])
    texts = given.text_columns
    if texts is not None:
        texts = tuple(_ours(name, given.columns, columns) for name in texts)
    names = [staging.folder.part(part["number"]) for part in manifest["written"]]
    return InputConfig(
        path=tuple(names), format="parquet", layout="long", order="grouped",
        text_columns=texts, text_separator=given.text_separator,
        # Parts are known by the hash of all their bytes.
        hash_mib=max(given.hash_mib, 4096.0),
        allow_empty=given.allow_empty, max_expansion=given.max_expansion,
    )  # fmt: skip


def _ours(name: str, mapped: Mapping[str, str], columns: set[str]) -> str:
    """What a column that the user named is called in a copy."""
    if name in columns:
        return name
    explicit = [ours for ours, own in mapped.items() if own == name]
    aliased = [ours for ours, aliases in schema.ALIASES.items() if name in aliases]
    return next((ours for ours in (*explicit, *aliased) if ours in columns), name)


def _folder(config: JobConfig) -> str:
    if config.input.staging is not None:
        return absolute(config.input.staging)
    return join(absolute(config.output.path), FOLDER)


def _place(config: JobConfig, staying: ExitStack) -> Place:
    """Ray, unless the job is to be worked on without it."""
    if config.ray.mode == "in_process":
        return InProcess()
    return _OnRay(task_session(config, staying))


class _OnRay:
    """The tasks of a job's Ray."""

    def __init__(self, session: TaskSession) -> None:
        self._session = session

    def surveys(self, work: Work) -> Iterator[ShardRuns]:
        """What the shards of the candidates say, in order."""
        from pipeline.staging.graph import surveys

        yield from self._session.explained(lambda: surveys(work, self._session.ray))

    def records(self, work: Work, todo: list[int]) -> Iterator[Record]:
        """Parts as they are committed, in any order."""
        from pipeline.staging.graph import records

        yield from self._session.explained(lambda: records(work, todo, self._session.ray))
