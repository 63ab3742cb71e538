"""Yesterday's run, as far as its scores are taken over: what it is of, and its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import schema
from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.runs import records
from pipeline.execution.runs.identity import ModelIdentity
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.run_files import listed_columns
from pipeline.execution.runs.run_folder import MANIFEST, RANKED, SUCCESS, RunFolder
from pipeline.refresh.reuse.work import OldUnit
from pipeline.storage.store import join

#: Parts of a model's identity that change scores, in the words of a sentence.
_WORDS: Mapping[str, str] = {
    "digest": "weights",
    "family": "family",
    "template": "prompt template",
    "settings": "settings",
    "dtype": "precision",
    "images": "image settings",
}


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The run that is published when a night begins.

    Attributes:
        folder: of the run.
        manifest_sha256: of its manifest, as the publication says.
        sequence: number of the publication.
    """

    folder: RunFolder
    manifest_sha256: str
    sequence: int

    def described(self) -> dict[str, Any]:
        """What a table's manifest says of it."""
        run_id = self.folder.path.rpartition("/")[2]
        return {
            "run_id": run_id,
            "manifest_sha256": self.manifest_sha256,
            "sequence": self.sequence,
        }

    def why_not(self, model: ModelIdentity, score_fingerprint: str) -> str | None:
        """Why none of its scores hold, as a sentence; None where they may.

        Args:
            model: that scores now.
            score_fingerprint: of what it scores.

        Raises:
            DamagedRunError: ``run.json`` is gone or not as it was written.
        """
        with without_it():
            described = self.folder.describe()
        before = described.get("score_fingerprint")
        if before is None:
            return self._without_keys()
        if before == score_fingerprint:
            return None
        now = asdict(model)
        changed = [
            words for name, words in _WORDS.items() if described["model"].get(name) != now[name]
        ]
        what = f"the model's {' and '.join(changed)}" if changed else "the version of this program"
        return f"{what} changed since run {described['run_id']}, so none of its scores hold"

    def units(self) -> tuple[list[OldUnit], str | None]:
        """Its units, and why none of their scores can be told apart, or None.

        Raises:
            DamagedRunError: it is not the run that was published, or not as it was written.
        """
        with without_it():
            manifest = published_manifest(self.folder)
            run_id = manifest["run_id"]
            success = records.read(self.folder.file(SUCCESS), records.Success, run_id=run_id)
            if success is None or success["manifest_sha256"] != self.manifest_sha256:
                raise records.damaged(
                    self.folder.file(MANIFEST), f"it is not that of publication {self.sequence}"
                )
            units = [_unit(self.folder, unit) for unit in manifest["units"]]
            if units and schema.CONTENT_KEY not in listed_columns(*units[0].files[0]):
                return [], self._without_keys()
        return units, None

    def _without_keys(self) -> str:
        run_id = self.folder.path.rpartition("/")[2]
        return (
            f"run {run_id} was made without content keys (not by `rerank refresh`), so it is not "
            "known what its scores are of"
        )


def _unit(folder: RunFolder, unit: Mapping[str, Any]) -> OldUnit:
    files = tuple(
        (join(folder.path, file["key"]), file["sha256"])
        for file in unit["files"]
        if file["key"].startswith(f"{RANKED}/")
    )
    return OldUnit(files=files, documents=unit["documents"], queries=unit["queries"])


@contextmanager
def without_it() -> Iterator[None]:
    """Say of a damaged run, whose scores must not be trusted, that a night can go without it.

    Raises:
        DamagedRunError: the body does, or finds no run.
    """
    try:
        yield
    except (DamagedRunError, NotFoundError) as error:
        raise DamagedRunError(
            f"{error}. Scores of a damaged run are not reused; `rerank refresh --full` scores "
            "everything anew, without it"
        ) from None
