from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.candidates.columns import map_columns
from pipeline.errors import ConfigurationError, InputContractError

LONG = pa.schema([("qid", pa.int64()), ("query", pa.string()), ("pid", pa.string()),
                  ("passage", pa.string()), ("score", pa.float32())])  # fmt: skip


def test_aliases_are_found() -> None:
    found = map_columns(LONG, source="f.parquet")
    assert found.layout == "long"
    assert found.query == {"query_id": "qid", "query": "query"}
    assert found.candidate == {"doc_id": "pid", "first_stage_score": "score"}
    assert found.text == ("passage",)
    assert found.query_id == pa.int64()


def test_an_explicit_mapping_wins_over_aliases() -> None:
    arrow = LONG.append(pa.field("body", pa.string()))
    found = map_columns(arrow, source="f.parquet", columns={"text": "body"})
    assert found.text == ("body",)


def test_nested_structs_are_found_by_any_alias() -> None:
    item = pa.struct([("docid", pa.string()), ("contents", pa.string())])
    arrow = pa.schema([("qid", pa.string()), ("question", pa.string()), ("hits", pa.list_(item))])
    found = map_columns(arrow, source="f.parquet")
    assert (found.layout, found.candidates, found.text) == ("nested", "hits", ("contents",))


@pytest.mark.parametrize(
    ("arrow", "options", "error", "message"),
    [
        (LONG.remove(3), {}, InputContractError, r"f\.parquet: missing column 'text'.*passage"),
        (LONG, {"columns": {"texts": "x"}}, ConfigurationError, "unknown column 'texts'"),
        (LONG, {"columns": {"text": "nope"}}, InputContractError, "maps 'text' to 'nope'"),
        (LONG, {"layout": "nested"}, InputContractError, "list-of-structs column"),
        (LONG, {"pass_through": ["lang"]}, InputContractError, "output.columns names 'lang'"),
        (LONG, {"pass_through": ["rank"]}, ConfigurationError, "written by the pipeline"),
        (LONG, {"text_columns": ["head"]}, InputContractError, "text_columns names 'head'"),
        (
            LONG.set(3, pa.field("passage", pa.int32())),
            {},
            InputContractError,
            "'passage' holds int32, expected text",
        ),
        (
            LONG.set(0, pa.field("qid", pa.float64())),
            {},
            InputContractError,
            "'qid' holds double; ids must be strings or integers",
        ),
    ],
)
def test_errors_name_file_and_column(
    arrow: pa.Schema, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        map_columns(arrow, source="f.parquet", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("QID", "columns found: QID, query.*input.columns.query_id=QID"),
        ("queryId", "input.columns.query_id=queryId"),
        ("Query ID", "input.columns.query_id='Query ID'"),
        ("query_id ", "columns found: 'query_id ', query.*input.columns.query_id='query_id '"),
        ("\ufeffqid", r"columns found: '\\ufeffqid', query"),
        ("search", "map yours with --set input.columns.query_id=YOUR_COLUMN"),
    ],
)
def test_a_name_in_another_spelling_is_pointed_at(own: str, told: str) -> None:
    arrow = LONG.set(0, pa.field(own, pa.int64()))
    with pytest.raises(InputContractError, match=told):
        map_columns(arrow, source="f.parquet")
    assert map_columns(arrow, source="f.parquet", columns={"query_id": own}).query_id == pa.int64()
