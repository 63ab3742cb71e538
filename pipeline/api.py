"""The reranker without Ray: the same families and the same engine, for notebooks and tests."""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping, Set
from dataclasses import dataclass, replace
from os import PathLike, fspath
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.naming import settled
from pipeline.config import EngineConfig, ImagesConfig, ModelConfig
from pipeline.config.reading.loading import validate
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.device import best_device_kind, kind_of_place
from pipeline.engine.engine import Engine
from pipeline.engine.scoring import Scoreable
from pipeline.errors import ConfigurationError
from pipeline.ranking.ranks import rank_lists
from pipeline.rerankers.base import Reranker

#: Texts by position; any iterable of them.
Documents = Iterable[str | None]

#: Classes of pandas' and NumPy's marks for a missing value.
_MISSING = frozenset({"NAType", "NaTType", "MaskedConstant"})


@dataclass(frozen=True, kw_only=True)
class RankedDocument:
    """One row of a ranked list.

    Attributes:
        index: place of the document in the caller's list.
        rank: 1 = best.
        score: the model's raw output; None where the document could not be scored.
        document: its text.
    """

    index: int
    rank: int
    score: float | None
    document: str | None


class Ranker:
    """A loaded model that scores documents for a query, in this process.

    One thread at a time: neither a model nor its statistics are guarded against several.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def score_scale(self) -> str:
        """What a score is: logit, cosine, probability, preference or overlap."""
        return self.engine.reranker.score_scale

    def score(self, query: str, documents: Documents) -> npt.NDArray[np.float32]:
        """float32 [N] raw scores in input order; NaN for a document that is missing.

        Args:
            query: its text.
            documents: texts, taken one after the other whatever index they have: a list, tuple,
                iterator, pandas Series, NumPy or Arrow array. None, NaN and pandas' NA are missing.

        Raises:
            ConfigurationError: the query or a document is no text; names the place.
        """
        return self.score_lists(_lists(query, _texts(documents)))

    def score_lists(self, lists: CandidateLists) -> npt.NDArray[np.float32]:
        """float32 [N] raw scores of many lists at once, in document order; NaN where rejected.

        Equal pairs of a query and a document have equal scores where the family is pointwise.

        Raises:
            ConfigurationError: int8 or float8 order the first documents too differently, see
                ``min_overlap`` of :func:`load`.
        """
        reranker = self.engine.reranker
        scoreable = Scoreable.of(lists, reranker)
        sequences = reranker.encode(scoreable.lists)
        sequences, readouts = self.engine.run(scoreable.lists, sequences)
        if self.engine.agreement is not None:
            self.engine.agreement.check(self.engine, scoreable.lists, sequences, readouts)
        scores = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
        scores[scoreable.documents], _ = scoreable.expand(reranker, sequences, readouts)
        return scores

    def rank(
        self, query: str, documents: Documents, *, top_k: int | None = None
    ) -> list[RankedDocument]:
        """The documents best first; ties keep the input order, and missing documents come last.

        Args:
            query: as for :meth:`score`.
            documents: as for :meth:`score`.
            top_k: only the best so many; None, or more than there are, gives all.

        Raises:
            ConfigurationError: as :meth:`score`, or ``top_k`` is no whole number from 0.
        """
        most = _whole_number(top_k)
        texts = _texts(documents)
        lists = _lists(query, texts)
        scores = self.score_lists(lists)
        first_ranks = lists.documents.column(schema.FIRST_STAGE_RANK).to_numpy()
        doc_ids = lists.documents.column(schema.DOC_ID).combine_chunks()
        order, ranks = rank_lists(scores, first_ranks, doc_ids, lists.query_of_document)
        rows = [
            RankedDocument(
                index=int(index),
                rank=int(rank),
                score=None if np.isnan(scores[index]) else float(scores[index]),
                document=texts[index],
            )
            for index, rank in zip(order, ranks, strict=True)
        ]
        return rows[:most]


def load(
    model: str | PathLike[str],
    *,
    family: str | None = None,
    revision: str | None = None,
    adapter: str | PathLike[str] | None = None,
    adapter_revision: str | None = None,
    sha256: str | None = None,
    device: Any = None,
    dtype: Any = "auto",
    token_budget: int | None = None,
    packing: str = "auto",
    share_prefixes: bool = True,
    min_overlap: float = 0.9,
    images: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Ranker:
    """Load a model for use in this process.

    Args:
        model: a model card's name, or a checkpoint's folder, URI or hub id.
        family: the file in ``pipeline/rerankers`` that runs the model, or the dotted path of a
            module of yours, which is imported: naming it here allows it. A card knows its own, and
            of most checkpoints the files say it.
        revision: commit, branch or tag of a hub id; default: its default branch.
        adapter: a LoRA adapter to merge into the weights: a folder, URI or hub id.
        adapter_revision: as ``revision``, of an adapter with a hub id.
        sha256: as ``model.sha256`` of a job.
        device: ``cpu``, ``cuda`` or ``cuda:N``, as text or as torch's own; default: cuda where
            torch sees one.
        dtype: as ``engine.dtype`` of a job, or torch's own.
        token_budget: as ``engine.token_budget`` of a job.
        packing: as ``engine.packing`` of a job.
        share_prefixes: as ``engine.share_prefixes`` of a job.
        min_overlap: as ``engine.min_overlap`` of a job; int8 and float8 are compared on the first
            documents that are scored.
        images: as ``input.images`` of a job: where images of documents may be read from, such as
            ``{"roots": ["/data/pages"]}``; default: bytes and ``data:`` URIs only.
        **settings: the family's settings, such as ``max_length``.

    Raises:
        ConfigurationError: unknown card, family, device or setting.
        NotFoundError: no checkpoint there.
        ModelError: the checkpoint does not fit the family.
    """
    asked = {
        "dtype": str(dtype).removeprefix("torch."),
        "token_budget": token_budget,
        "packing": packing,
        "share_prefixes": share_prefixes,
        "min_overlap": min_overlap,
    }
    engine = validate(EngineConfig, asked, prefix="engine")
    name = _place(
        model, "model", "the name of a card, or the folder, URI or hub id of a checkpoint"
    )
    named = {
        "revision": revision,
        "adapter": None
        if adapter is None
        else _place(adapter, "adapter", "the folder, URI or hub id of an adapter"),
        "adapter_revision": adapter_revision,
        "sha256": sha256,
        "settings": settings,
    }
    if family is None:
        section = {"name": name, **named}
    else:
        section = {"family": family, "weights": name, **named}
    config = settled(validate(ModelConfig, section, prefix="model"))
    if not isinstance(images, (Mapping, NoneType)):
        raise ConfigurationError(
            f"images: {type(images).__name__}, expected a mapping, such as "
            '{"roots": ["/data/pages"]}'
        )
    read_from = validate(ImagesConfig, images or {}, prefix="images")
    if device is not None:
        kind_of_place(str(device))
    allow_code = () if family is None else (family,)

    def build(files: Mapping[str, str] | None = None) -> Reranker:
        return build_reranker(config, files=files, images=read_from, allow_code=allow_code)

    reranker = build()
    place = _device(device, numpy_only=reranker.numpy_only)
    return Ranker(build_engine(reranker, engine, place, rebuild=build))


def _device(asked: object, *, numpy_only: bool) -> str:
    if asked is not None:
        return str(asked)
    return "cpu" if numpy_only else best_device_kind()


def _place(given: object, name: str, expected: str) -> str:
    place = fspath(given) if isinstance(given, PathLike) else given
    if isinstance(place, str):
        return str.__str__(place)  # of an enumeration the value, not the name
    raise ConfigurationError(f"{name}: {type(given).__name__}, expected {expected}")


def _texts(documents: Documents) -> list[str | None]:
    """Documents as a list of plain strings, None where one is missing.

    Raises:
        ConfigurationError: they are a single text or no sequence, or one of them is no text.
    """
    if isinstance(documents, (str, bytes, bytearray)):
        raise ConfigurationError(
            f"documents: a single {type(documents).__name__}; give a list of texts, e.g. [text]"
        )
    unordered = isinstance(documents, (Mapping, Set)) and not isinstance(documents, KeysView)
    if unordered or getattr(documents, "ndim", 1) != 1:
        raise ConfigurationError(
            f"documents: {type(documents).__name__} is no sequence of texts; give a list of them, "
            "such as one column of a table"
        )
    try:
        values = iter(documents)
    except TypeError:
        raise ConfigurationError(
            f"documents: {type(documents).__name__}, expected a sequence of texts"
        ) from None
    return [_document(value, place) for place, value in enumerate(values)]


def _document(value: object, place: int) -> str | None:
    if isinstance(value, str):
        return _text(value, f"documents[{place}]")
    try:
        plain = value.as_py() if hasattr(value, "as_py") else value  # an Arrow scalar
    except UnicodeDecodeError:
        raise ConfigurationError(f"documents[{place}]: not valid UTF-8") from None
    if plain is None or type(plain).__name__ in _MISSING:
        return None
    if isinstance(plain, (float, np.floating)) and np.isnan(plain):
        return None
    if isinstance(plain, str):
        return _text(plain, f"documents[{place}]")
    raise ConfigurationError(
        f"documents[{place}]: {type(value).__name__}, expected a text, or None where it is missing"
    )


def _text(value: str, name: str) -> str:
    """A plain string that can be encoded: subclasses may do what they want when they are read."""
    text = str.__str__(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{name}: character {error.start} is half of a surrogate pair, which is no text; "
            "decode the bytes that it came from with errors='replace'"
        ) from None
    return text


def _lists(query: object, texts: list[str | None]) -> CandidateLists:
    if not isinstance(query, str):
        raise ConfigurationError(f"query: {type(query).__name__}, expected a text")
    lists = CandidateLists.from_texts(_text(query, "query"), texts)
    missing = [reasons.NULL_TEXT if text is None else None for text in texts]
    index = lists.documents.column_names.index(schema.REASON)
    column = pa.array(missing, pa.string())
    return replace(lists, documents=lists.documents.set_column(index, schema.REASON, column))


def _whole_number(top_k: object) -> int | None:
    if top_k is None:
        return None
    if isinstance(top_k, (int, np.integer)) and not isinstance(top_k, bool) and top_k >= 0:
        return int(top_k)
    raise ConfigurationError(f"top_k: {top_k!r}, expected a whole number from 0, or None for all")
