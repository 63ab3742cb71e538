"""The canonical training set: nested Parquet, one row per query, of which exports are projections.

::

    <set folder>/canonical/train/part-00000.parquet
    <set folder>/canonical/dev/part-00000.parquet

A part holds the queries of one unit that are in its split; a unit without any has no part there.
Every part says in its footer who scored it and by which rules, so it can be read on its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError, NotFoundError
from pipeline.storage.parquet import read_metadata, table_of, to_bytes
from pipeline.storage.store import join, list_names, read_bytes

Split = Literal["train", "dev"]
TRAIN: Final = "train"
DEV: Final = "dev"
SPLITS: Final[tuple[Split, ...]] = (TRAIN, DEV)

POSITIVES: Final = "positives"
NEGATIVES: Final = "negatives"
IMAGE_URI: Final = "image_uri"
RELEVANCE: Final = "relevance"
SOURCE: Final = "source"

#: Where a positive comes from; every negative comes from the teacher's list.
FROM_QRELS: Final = "qrels"
FROM_TEACHER: Final = "teacher"

#: A document beside a query. Text, image bytes and image place are what the teacher was given;
#: at least one of the three is not null. ``score`` is the combined teacher score, null only for a
#: judged positive that stood in no list. ``rank`` is the place in the teacher's list (1 = best).
ITEM: Final = pa.struct(
    [
        pa.field(schema.DOC_ID, pa.string(), nullable=False),
        pa.field(schema.TEXT, pa.string()),
        pa.field(schema.IMAGE, pa.binary()),
        pa.field(IMAGE_URI, pa.string()),
        pa.field(schema.SCORE, pa.float32()),
        pa.field(RELEVANCE, pa.int32()),
        pa.field(schema.RANK, pa.int32()),
        pa.field(SOURCE, pa.string(), nullable=False),
    ]
)

#: The image of a query, as Hugging Face's ``Image`` feature stores one.
QUERY_IMAGE_TYPE: Final = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

#: Positives and negatives stand best first: by score descending, without a score last, then doc_id.
SCHEMA: Final = pa.schema(
    [
        pa.field(schema.QUERY_ID, pa.string(), nullable=False),
        pa.field(schema.QUERY, pa.string()),
        pa.field(schema.QUERY_IMAGE, QUERY_IMAGE_TYPE),
        pa.field(POSITIVES, pa.list_(ITEM), nullable=False),
        pa.field(NEGATIVES, pa.list_(ITEM), nullable=False),
    ]
)

#: What a part's footer says, each key a JSON value.
#: set_id: the set. teachers: list of {name, revision, digest, licence, score_scale, run_id}.
#: combination: how several teachers' scores became one. rules: positives and negatives as
#: configured. split: train or dev. counts: {queries, positives, negatives} of the part.
DESCRIPTION_KEYS: Final = ("set_id", "teachers", "combination", "rules", "split", "counts")

_FOLDER: Final = "canonical"
_PREFIX, _SUFFIX = "part-", ".parquet"


def part_name(place: int) -> str:
    """File name of the part of the unit at ``place`` of the plan."""
    return f"{_PREFIX}{place:05d}{_SUFFIX}"


def part_path(folder: str, split: str, place: int) -> str:
    """Path of a part in a set's folder."""
    return join(folder, _FOLDER, split, part_name(place))


def part_bytes(rows: pa.Table, description: Mapping[str, Any]) -> bytes:
    """The rows of one unit and split as a Parquet file; the same bytes for the same arguments.

    Args:
        rows: [Q] of :data:`SCHEMA`.
        description: a JSON value for each of :data:`DESCRIPTION_KEYS`.

    Raises:
        InputContractError: the columns are others, or the description lacks a key.
    """
    if not rows.schema.equals(SCHEMA):
        raise InputContractError(
            f"canonical part: expected columns\n{SCHEMA}\nfound\n{rows.schema.remove_metadata()}"
        )
    if set(description) != set(DESCRIPTION_KEYS):
        raise InputContractError(
            f"canonical part: expected a description of {', '.join(DESCRIPTION_KEYS)}, "
            f"found {', '.join(description)}"
        )
    texts = {
        key: json.dumps(description[key], sort_keys=True, ensure_ascii=False)
        for key in DESCRIPTION_KEYS
    }
    return to_bytes(rows.replace_schema_metadata(), metadata=texts)


def part_paths(folder: str, split: str) -> list[str]:
    """Parts of one split in the order of the plan; empty where the split has none."""
    inside = join(folder, _FOLDER, split)
    return [
        join(inside, name)
        for name in sorted(list_names(inside), key=lambda name: (len(name), name))
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX)
    ]


def read_part(path: str) -> pa.Table:
    """The rows of one part.

    Raises:
        InputContractError: the file is damaged or is no part of a canonical set.
    """
    return part_of(read_bytes(path), path)


def part_of(data: bytes, path: str) -> pa.Table:
    """As :func:`read_part`, of bytes that were read from ``path``."""
    table = table_of(data, path).replace_schema_metadata()
    if not table.schema.equals(SCHEMA):
        raise InputContractError(
            f"{path}: not a part of a canonical training set; expected columns\n{SCHEMA}\nfound\n"
            f"{table.schema}"
        )
    return table


def read_parts(folder: str, split: str) -> Iterator[pa.Table]:
    """The rows of one split, a part at a time, so that memory holds one unit."""
    for path in part_paths(folder, split):
        yield read_part(path)


def read_description(folder: str) -> dict[str, Any]:
    """What the first part's footer says of the whole set (its split and counts are its own).

    Raises:
        NotFoundError: there is no part.
    """
    for split in SPLITS:
        for path in part_paths(folder, split)[:1]:
            found = read_metadata(path)
            return {key: json.loads(found[key]) for key in DESCRIPTION_KEYS}
    raise NotFoundError(
        f"{folder}: no canonical training set here; give the folder of a set, "
        "<output.path>/<set id>"
    )
