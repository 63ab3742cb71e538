"""Where candidate lists are, and how their columns are called: the section ``input`` of a job."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.config.base import Names, Settings
from pipeline.config.conditions import refuse_malformed
from pipeline.config.images import ImagesConfig


class InputConfig(Settings):
    """Where the candidate lists are, and how their columns are called."""

    path: Names = Field(
        min_length=1,
        description="Files, folders or globs with candidate lists, local or fsspec URIs; read in "
        "sorted order. Folders called name=value give their files a column of text. The folder of "
        "a BEIR collection brings its corpus and queries along.",
    )
    format: Literal["auto", "parquet", "trec", "tsv", "csv", "jsonl"] = Field(
        "auto",
        description="What the files of input.path are, text formats also compressed; auto: by "
        "their content. Whatever is not Parquet is converted once into a staged copy.",
    )
    corpus: Names | None = Field(
        None,
        min_length=1,
        description="Files, folders or globs with the documents (doc_id, title, text, image ...) "
        "of candidates that hold ids only; Parquet, JSONL, TSV or CSV, found by their content.",
    )
    queries: Names | None = Field(
        None,
        min_length=1,
        description="The same with the queries (query_id, query) of candidates that hold none.",
    )
    filter: tuple[Any, ...] | None = Field(
        None,
        description="Rows of input.path that are candidates, as [column, op, value] conditions "
        "that all hold, or a list of such lists of which one holds; op is =, ==, !=, <, <=, >, >=, "
        "in or not in (pyarrow.parquet.filters_to_expression). The others are left out of the "
        "staged copy that a filter makes necessary.",
    )
    order: Literal["auto", "grouped", "scattered"] = Field(
        "auto",
        description="grouped: the rows of a query stand together, and where they do not, the run "
        "is refused; scattered: they are brought together in a staged copy; auto: the query ids "
        "are looked at.",
    )
    staging: str | None = Field(
        None,
        min_length=1,
        description="Folder of staged copies, which every node must reach; default: "
        "<output.path>/_staged.",
    )
    broadcast_mib: float = Field(
        1024.0,
        ge=0,
        description="Size of a corpus or of queries in memory up to which every node gets all of "
        "it, so that candidates need not be moved to their documents; larger ones are joined by a "
        "shuffle.",
    )
    layout: Literal["auto", "long", "nested"] = Field(
        "auto",
        description="long: a row per query and document, rows of a query together; "
        "nested: a row per query with a list of structs, or a struct of lists; auto: by the "
        "columns.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Our column name to yours, where neither it nor a known alias fits; "
        "fields inside a nested list are mapped the same way. doc_id: '@position' names candidates "
        "of a list that has no ids by their place in it, from 0.",
    )
    text_columns: Names | None = Field(
        None,
        min_length=1,
        description="Columns joined into the scored text, null and empty ones left out; "
        "default: title, where there is one, and text.",
    )
    text_separator: str = Field(" ", description="What joins text_columns.")
    hash_mib: float = Field(
        256.0,
        ge=0,
        description="Files up to this size whose store has no version for them (local disks) are "
        "identified by a hash of their content; larger ones by samples, times and inode, and may "
        "not be touched during a run.",
    )
    allow_empty: bool = Field(
        False,
        description="Publish a run of an input without any candidate; such an input is refused "
        "otherwise, for it is mostly a mistake of the step before.",
    )
    max_expansion: float = Field(
        100.0,
        gt=1,
        description="Decoded bytes per stored byte past which a file is refused as a "
        "decompression bomb, where a unit takes more than 128 MiB.",
    )
    images: ImagesConfig = ImagesConfig()

    @field_validator("filter")
    @classmethod
    def _of_conditions(cls, conditions: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        refuse_malformed(conditions)
        return conditions
