"""Which columns of a file are which of ours: explicit mapping first, then known aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipeline import schema
from pipeline.errors import ConfigurationError, InputContractError

Layout = Literal["long", "nested"]


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """How one file's columns are read.

    Attributes:
        layout: ``long`` (a row per candidate) or ``nested`` (a row per query).
        query: our query-level name to the file's column; query_id, query, and query_image.
        candidate: our candidate-level name to the file's column or struct field.
        candidates: the list column of the nested layout.
        text: columns or fields joined into the scored text, in order.
        passed: pass-through columns, each with the level it was found at.
        query_id: type of query ids in the output.
        doc_id: type of document ids in the output.
    """

    layout: Layout
    query: Mapping[str, str]
    candidate: Mapping[str, str]
    candidates: str | None
    text: tuple[str, ...]
    passed: Mapping[str, Literal["query", "candidate"]]
    query_id: pa.DataType
    doc_id: pa.DataType

    def read_columns(self) -> list[str]:
        """Top-level columns of the file that a reader needs."""
        wanted = [*self.query.values()]
        wanted += [name for name, level in self.passed.items() if level == "query"]
        if self.candidates is not None:
            wanted.append(self.candidates)
        else:
            wanted += [*self.candidate.values(), *self.text]
            wanted += [name for name, level in self.passed.items() if level == "candidate"]
        return list(dict.fromkeys(wanted))


def map_columns(
    arrow: pa.Schema,
    *,
    source: str,
    layout: Literal["auto", "long", "nested"] = "auto",
    columns: Mapping[str, str] | None = None,
    text_columns: Sequence[str] | None = None,
    pass_through: Sequence[str] = (),
) -> ColumnMap:
    """Find our columns in a file's schema.

    Args:
        arrow: the file's schema.
        source: the file's path, for errors.
        layout: as configured; ``auto`` is nested where a list-of-structs column is found.
        columns: explicit ``our name -> file's name`` mapping; it wins over aliases.
        text_columns: columns joined into the text, our names or the file's; None is title, where
            there is one, and text, which only an image column makes dispensable.
        pass_through: columns copied to the output.

    Raises:
        ConfigurationError: ``columns`` names something that is not ours.
        InputContractError: a required column is missing or of a type that cannot be used.
    """
    explicit = dict(columns or {})
    unknown = sorted(set(explicit) - set(schema.ALIASES))
    if unknown:
        raise ConfigurationError(
            f"input.columns: unknown column '{unknown[0]}'; known: {', '.join(schema.ALIASES)}"
        )
    resolver = _Resolver(source, explicit)
    listed = _candidates_column(arrow, explicit, layout, source)
    if listed is None:
        outer = inner = arrow
    else:
        outer, inner = arrow, pa.schema(list(arrow.field(listed).type.value_type))
    query = _query_columns(resolver, outer)
    candidate = {schema.DOC_ID: resolver.require(schema.DOC_ID, inner)}
    for name in (schema.FIRST_STAGE_SCORE, schema.FIRST_STAGE_RANK, schema.IMAGE):
        found = resolver.find(name, inner)
        if found is not None:
            candidate[name] = found
    text = _text_columns(resolver, inner, text_columns, has_image=schema.IMAGE in candidate)
    return ColumnMap(
        layout="long" if listed is None else "nested",
        query=query,
        candidate=candidate,
        candidates=listed,
        text=text,
        passed=_passed(pass_through, outer, inner, source),
        query_id=_id_type(outer.field(query[schema.QUERY_ID]), source),
        doc_id=_id_type(inner.field(candidate[schema.DOC_ID]), source),
    )


class _Resolver:
    """Explicit names first, then aliases; errors say what was looked for and what is there."""

    def __init__(self, source: str, explicit: Mapping[str, str]) -> None:
        self.source = source
        self.explicit = explicit

    def find(self, name: str, arrow: pa.Schema) -> str | None:
        if name in self.explicit:
            chosen = self.explicit[name]
            if chosen not in arrow.names:
                raise InputContractError(
                    f"{self.source}: input.columns maps '{name}' to '{chosen}', which is not "
                    f"there; columns found: {', '.join(arrow.names)}"
                )
            return chosen
        return next((alias for alias in schema.ALIASES[name] if alias in arrow.names), None)

    def require(self, name: str, arrow: pa.Schema) -> str:
        found = self.find(name, arrow)
        if found is None:
            raise InputContractError(
                f"{self.source}: missing column '{name}' (also accepted: "
                f"{', '.join(schema.ALIASES[name][1:]) or 'no alias'}); columns found: "
                f"{', '.join(arrow.names) or 'none'}; map yours with "
                f"--set input.columns.{name}=YOUR_COLUMN"
            )
        return found


def _query_columns(resolver: _Resolver, outer: pa.Schema) -> dict[str, str]:
    """query_id and query; only a column of query images makes the text dispensable."""
    found = {schema.QUERY_ID: resolver.require(schema.QUERY_ID, outer)}
    image = resolver.find(schema.QUERY_IMAGE, outer)
    if image is not None:
        found[schema.QUERY_IMAGE] = image
    if image is None or resolver.find(schema.QUERY, outer) is not None:
        found[schema.QUERY] = resolver.require(schema.QUERY, outer)
    return found


def _text_columns(
    resolver: _Resolver, inner: pa.Schema, wanted: Sequence[str] | None, *, has_image: bool
) -> tuple[str, ...]:
    if wanted is None:
        needed = () if has_image else (schema.TEXT,)
        wanted = [
            name
            for name in (schema.TITLE, schema.TEXT)
            if name in needed or resolver.find(name, inner) is not None
        ]
    names = []
    for name in wanted:
        if (name in schema.ALIASES and name not in inner.names) or name in resolver.explicit:
            names.append(resolver.require(name, inner))
        elif name in inner.names:
            names.append(name)
        else:
            raise InputContractError(
                f"{resolver.source}: input.text_columns names '{name}', which is not there; "
                f"columns found: {', '.join(inner.names)}"
            )
    for name in names:
        if not is_text(inner.field(name).type):
            raise InputContractError(
                f"{resolver.source}: column '{name}' holds {inner.field(name).type}, expected text"
            )
    return tuple(names)


def _passed(
    wanted: Sequence[str], outer: pa.Schema, inner: pa.Schema, source: str
) -> dict[str, Literal["query", "candidate"]]:
    passed: dict[str, Literal["query", "candidate"]] = {}
    for name in wanted:
        if name in (*schema.RANKED_COLUMNS, *schema.TOKEN_COLUMNS):
            raise ConfigurationError(
                f"output.columns: '{name}' is written by the pipeline itself; remove it"
            )
        if name in inner.names:
            passed[name] = "candidate"
        elif name in outer.names:
            passed[name] = "query"
        else:
            raise InputContractError(
                f"{source}: output.columns names '{name}', which is not there; columns found: "
                f"{', '.join(dict.fromkeys([*outer.names, *inner.names]))}"
            )
    return passed


def _candidates_column(
    arrow: pa.Schema, explicit: Mapping[str, str], layout: str, source: str
) -> str | None:
    if layout == "long":
        return None
    aliases = schema.ALIASES[schema.CANDIDATES]
    names = (explicit[schema.CANDIDATES],) if schema.CANDIDATES in explicit else aliases
    for name in names:
        if name in arrow.names:
            kind = arrow.field(name).type
            if _is_list(kind) and pa.types.is_struct(kind.value_type):
                return name
    if layout == "nested" or schema.CANDIDATES in explicit:
        raise InputContractError(
            f"{source}: the nested layout needs a list-of-structs column called "
            f"{' or '.join(names)}; columns found: {', '.join(arrow.names)}; map yours with "
            "--set input.columns.candidates=YOUR_COLUMN"
        )
    return None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can be read as text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        check(kind)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_null,
        )
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _id_type(field: pa.Field, source: str) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_integer(kind):
        return kind
    if is_text(kind):
        return pa.string()
    raise InputContractError(
        f"{source}: column '{field.name}' holds {field.type}; ids must be strings or integers"
    )
