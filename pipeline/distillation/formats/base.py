"""What a training format is: a pure projection of one canonical part into bytes of files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import pyarrow as pa
from pydantic import Field

from pipeline.config import Settings
from pipeline.distillation.formats.support.examples import Content, Examples, Ints
from pipeline.distillation.formats.support.files import features_metadata, json_lines, parquet
from pipeline.errors import ConfigurationError

#: Rows that are in memory at one time, and of a row group.
BLOCK: Final = 1_000


class NoOptions(Settings):
    """A format that has nothing to choose."""


class ContentOptions(Settings):
    """Options of formats that carry either content of a document."""

    content: Content = Field(
        "text",
        description="What a document is: its text, or its image (bytes or URI, as Hugging Face's "
        "Image feature).",
    )


@dataclass(frozen=True)
class Column:
    """One column of a file, or one field of a JSON line."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a format made of one part.

    Attributes:
        files: content by path in the export's folder. A part of which nothing is left has none.
        rows: rows of the split.
        queries: queries that have a row.
        left_out: what is not in the files, by reason; see
            :data:`pipeline.distillation.rules.left_out.LEFT_OUT`.
        documents: ids of the documents that rows refer to, where the format keeps them in files of
            their own; see :meth:`TrainingFormat.write_documents`.
    """

    files: Mapping[str, bytes]
    rows: int
    queries: int
    left_out: Counter[str] = field(default_factory=Counter)
    documents: Sequence[str] = ()


class TrainingFormat(ABC):
    """One format: a file of this folder with one subclass in it.

    Files lie under ``<split>/<part><suffix>``. The same part gives the same bytes. Nothing is
    dropped silently: what a format cannot carry is counted in ``left_out``.
    """

    #: Settings of one export of this format.
    Options: ClassVar[type[Settings]] = NoOptions
    #: Ending of the files, which decides how Hugging Face's ``load_dataset`` reads them.
    suffix: ClassVar[str] = ".parquet"
    #: Whose loader reads the files as they are.
    consumer: ClassVar[str]
    #: How; ``FOLDER`` stands for the export's folder.
    loading: ClassVar[str]
    #: Whether documents are in files of their own, each once in the whole set.
    separate_documents: ClassVar[bool] = False

    def __init__(self, *, options: Any = None, rules: Mapping[str, Any] | None = None) -> None:
        """A format for one set.

        Args:
            options: an instance of ``Options``; None for the defaults.
            rules: the set's rules, which fill options that are left open.
        """
        self.options: Any = self.Options() if options is None else options
        self.rules = rules or {}

    @abstractmethod
    def columns(self) -> list[Column]:
        """Columns in the order of the file, or fields of a line."""

    @abstractmethod
    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """Project one part.

        Args:
            rows: [Q] of :data:`pipeline.distillation.rules.canonical.SCHEMA`.
            split: train or dev.
            part: the part's name without its ending.
        """

    def write_documents(
        self, rows: pa.Table, wanted: frozenset[str], *, split: str, part: str
    ) -> Mapping[str, bytes]:
        """Files of the documents of a part that no part before it refers to.

        Args:
            rows: as in :meth:`write`.
            wanted: their ids.
            split: train or dev.
            part: the part's name without its ending.
        """
        raise NotImplementedError

    def finish(self, parts: Mapping[str, Sequence[str]]) -> Mapping[str, bytes]:
        """Small files over all parts, by path.

        Args:
            parts: file names that were written, by split.
        """
        return {}

    def configurations(self) -> dict[str, dict[str, str]]:
        """Hugging Face's dataset configurations: pattern of files by split, by configuration."""
        return {
            "default": {split: f"{split}/*{self.suffix}" for split in ("train", "dev")},
        }

    def schema(self) -> pa.Schema:
        """The columns as an Arrow schema."""
        return pa.schema([pa.field(column.name, column.type) for column in self.columns()])

    def number_of_negatives(self) -> int:
        """``num_negatives``: the option, else what the set was mined with.

        Raises:
            ConfigurationError: neither is known.
        """
        number = getattr(self.options, "num_negatives", None)
        number = number or self.rules.get("negatives", {}).get("num_negatives")
        if number is None:
            raise ConfigurationError(
                "num_negatives: the set does not say how many negatives it was mined with; set "
                "num_negatives"
            )
        return int(number)

    def parquet(
        self,
        block: Callable[[slice], list[pa.Array]],
        examples: Examples,
        query: Ints,
        *,
        path: str,
    ) -> Written:
        """A part as one Parquet file, made a block of rows at a time.

        Args:
            block: the columns of some rows.
            examples: the part; its ``left_out`` goes into the result.
            query: int64 [R], the query of each row.
            path: of the file, without its ending.
        """
        written = self.nothing(examples)
        if not len(query):
            return written
        schema = self.schema()
        metadata = features_metadata(schema)
        blocks = (
            pa.Table.from_arrays(block(slice(start, start + BLOCK)), schema=schema)
            for start in range(0, len(query), BLOCK)
        )
        return replace(
            written,
            files={path + self.suffix: parquet(blocks, schema.with_metadata(metadata))},
            rows=len(query),
            queries=len(set(query.tolist())),
        )

    def lines(
        self, found: Iterable[Mapping[str, Any]], examples: Examples, *, path: str
    ) -> Written:
        """A part as one JSON Lines file with a line per query; see :meth:`parquet`."""
        data = json_lines(found)
        if not data:
            return self.nothing(examples)
        count = data.count(b"\n")
        return replace(
            self.nothing(examples), files={path + self.suffix: data}, rows=count, queries=count
        )

    def nothing(self, examples: Examples) -> Written:
        """What is written of a part where nothing is left."""
        left_out = Counter({code: n for code, n in sorted(examples.left_out.items()) if n})
        return Written(files={}, rows=0, queries=0, left_out=left_out)
