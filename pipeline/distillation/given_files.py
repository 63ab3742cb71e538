"""Files that a set is made of beside its teachers, unchanged since its id was computed."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pipeline.config import DistillConfig, InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.files import FileIdentity
from pipeline.storage.store import list_files, read_bytes, with_content


@dataclass(frozen=True, kw_only=True)
class GivenFiles:
    """Judgements, evaluation queries and the corpus.

    Attributes:
        sha256: of each file that is read whole, by its path.
        corpus: the corpus's files; empty without one.
    """

    sha256: dict[str, str] = field(default_factory=dict)
    corpus: tuple[FileIdentity, ...] = ()

    @classmethod
    def of(cls, config: DistillConfig) -> GivenFiles:
        """Read what the configuration names.

        Raises:
            NotFoundError: a file is missing.
        """
        judged, clean = config.positives.qrels, config.decontaminate
        paths = [*(() if judged is None else (judged,)), *clean.queries, *clean.qrels]
        whole_bytes = int(InputConfig.model_fields["hash_mib"].default * 2**20)
        corpus = config.positives.corpus
        with ThreadPoolExecutor(16) as pool:
            digests = list(pool.map(lambda path: _sha256(read_bytes(path)), paths))
            files = pool.map(
                lambda file: with_content(file, whole_bytes=whole_bytes),
                () if corpus is None else list_files(corpus),
            )
            return cls(sha256=dict(zip(paths, digests, strict=True)), corpus=tuple(files))

    def read(self, path: str) -> bytes:
        """Content of a file that is read whole.

        Raises:
            InputContractError: it is another than when the set got its name.
        """
        data = read_bytes(path)
        if _sha256(data) != self.sha256[path]:
            raise changed_error(path)
        return data


def changed_error(path: str) -> InputContractError:
    """The refusal of a file that is another than when the set got its name."""
    return InputContractError(
        f"{path}: changed while the set was made, which is named by its content; run the same "
        "command again: it makes another set"
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
