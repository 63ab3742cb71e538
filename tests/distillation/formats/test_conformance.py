"""What holds for every format; a new one is picked up by listing the folder."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.formats.base import TrainingFormat, Written
from pipeline.distillation.formats.support.finding import build, find, names
from pipeline.distillation.formats.support.folder_card import folder_card
from pipeline.distillation.rules import left_out as codes
from pipeline.errors import ConfigurationError, InputContractError
from tests.distillation.formats.makers import RULES, awkward, item, part, plain, query

FORMATS = names()
WITH_IMAGES = [name for name in FORMATS if "content" in find(name).Options.model_fields]


def test_the_formats_are_those_that_are_promised() -> None:
    assert FORMATS == [
        "flag_embedding",
        "id_triple",
        "sentence_transformers_distill_kldiv",
        "sentence_transformers_labeled_list",
        "sentence_transformers_labeled_pair",
        "sentence_transformers_margin_mse",
        "sentence_transformers_n_tuple",
        "sentence_transformers_triplet",
        "tevatron",
        "tevatron_distill",
    ]


def made(name: str, rows: pa.Table, **options: Any) -> tuple[TrainingFormat, Written]:
    form = build(name, options, rules=RULES)
    return form, form.write(rows, split="train", part="part-00000")


def rows_of(form: TrainingFormat, written: Written) -> pa.Table:
    """The rows of the split, read back without our code."""
    data = written.files[f"train/part-00000{form.suffix}"]
    if form.suffix == ".parquet":
        return pq.read_table(io.BytesIO(data))
    if form.suffix == ".arrow":
        return pa.ipc.open_stream(data).read_all()
    return pa.Table.from_pylist([json.loads(line) for line in data.split(b"\n") if line])


@pytest.mark.parametrize("name", FORMATS)
def test_files_hold_the_columns_that_the_format_states(name: str) -> None:
    form, written = made(name, plain())
    table = rows_of(form, written)
    assert table.column_names == [column.name for column in form.columns()]
    if form.suffix != ".jsonl":  # JSON has no types of its own
        assert table.schema.remove_metadata().equals(form.schema())
    else:
        assert table.cast(form.schema()).num_rows == table.num_rows
    assert table.num_rows == written.rows
    assert written.queries == 2
    assert set(written.left_out) <= {codes.SURPLUS}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_part_gives_the_same_bytes(name: str) -> None:
    assert made(name, awkward())[1] == made(name, awkward())[1]


@pytest.mark.parametrize("name", FORMATS)
def test_a_part_of_which_nothing_is_left_has_no_file(name: str) -> None:
    _, written = made(name, part(query("q", [item("a", 1.0, text=None)], [])))
    assert written.files == {}
    assert (written.rows, written.queries) == (0, 0)
    assert written.left_out == {codes.NO_TEXT: 1, codes.NO_POSITIVE: 1}


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_part_has_no_file(name: str) -> None:
    assert made(name, plain().slice(0, 0))[1].files == {}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(name: str, score: float) -> None:
    rows = part(query("q7", [item("a", 5.0)], [item("b", 1.0), item("d9", score)]))
    with pytest.raises(InputContractError, match="query 'q7', document 'd9': the score is"):
        made(name, rows)


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_carried_is_counted(name: str) -> None:
    left_out = made(name, awkward())[1].left_out
    assert set(left_out) <= set(codes.LEFT_OUT)
    assert left_out[codes.NO_QUERY_TEXT] == 1
    assert left_out[codes.NO_TEXT] == 2
    assert left_out[codes.IMAGE_NOT_CARRIED] == 1
    assert left_out[codes.QUERY_IMAGE_NOT_CARRIED] == 1


@pytest.mark.parametrize("name", FORMATS)
def test_every_query_is_in_the_rows_or_left_out_with_a_reason(name: str) -> None:
    _, written = made(name, awkward())
    of_queries = (
        codes.NO_QUERY_TEXT,
        codes.NO_POSITIVE,
        codes.TOO_FEW_NEGATIVES,
        codes.TOO_FEW_DOCUMENTS,
    )
    assert written.queries + sum(written.left_out[code] for code in of_queries) == 6


@pytest.mark.parametrize("name", FORMATS)
def test_a_positive_without_a_score_is_kept_only_where_no_score_is_needed(name: str) -> None:
    keeps = name == "sentence_transformers_triplet"
    assert (made(name, awkward())[1].left_out[codes.NO_SCORE] == 0) is keeps


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sentence_transformers_labeled_pair", {"labels": "binary"}),
        ("sentence_transformers_labeled_list", {"labels": "binary"}),
        ("tevatron", {"scores": False}),
    ],
)
def test_an_option_without_scores_keeps_it_too(name: str, options: dict[str, Any]) -> None:
    assert codes.NO_SCORE not in made(name, awkward(), **options)[1].left_out


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_images_are_carried_as_bytes_or_uri(name: str) -> None:
    rows = part(
        query(
            "q1",
            [item("p", 2.0, image=b"bytes of p")],
            [item("n", 1.0, text=None, image_uri="s3://b/n.png"), item("m", 0.5, image=b"m")],
        )
    )
    form, written = made(name, rows, content="image")
    assert not written.left_out
    found: list[Any] = []
    for path, data in sorted(written.files.items()):
        if path.startswith("train/"):
            table = pq.read_table(io.BytesIO(data))
            for column in table.column_names:
                values = table[column].to_pylist()
                found += [x for v in values for x in (v if isinstance(v, list) else [v])]
    if form.separate_documents:
        wanted = frozenset(written.documents)
        (data,) = form.write_documents(rows, wanted, split="train", part="p").values()
        found = pq.read_table(io.BytesIO(data))["image"].to_pylist()
    images = [value for value in found if isinstance(value, dict)]
    assert {"bytes": b"bytes of p", "path": None} in images
    assert {"bytes": None, "path": "s3://b/n.png"} in images


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_documents_without_an_image_are_counted(name: str) -> None:
    left_out = made(name, awkward(), content="image")[1].left_out
    total = sum(len(row["positives"]) + len(row["negatives"]) for row in awkward().to_pylist())
    assert left_out[codes.NO_IMAGE] == total - 3


@pytest.mark.parametrize("name", FORMATS)
def test_its_card_names_columns_counts_and_what_is_left_out(name: str) -> None:
    form, written = made(name, awkward())
    counts = {"queries": written.queries, "rows": written.rows}
    summary = {
        "set_id": "abc",
        "splits": {"train": counts, "dev": {"queries": 0, "rows": 0}},
        "left_out": {"image_not_carried": 1},
    }
    card = folder_card(name, form, summary, written.files)
    for column in form.columns():
        assert f"| `{column.name}` |" in card
    assert f"| train | {written.queries} | {written.rows} |" in card
    assert "1 documents exported with their text, but not with their image" in card
    assert "dev/*" not in card  # a pattern without files would stop the loader


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'flag_embedding'"):
        find("flagembedding")


def test_an_unknown_option_names_the_format() -> None:
    with pytest.raises(ConfigurationError, match=r"exports\.tevatron\.score'; did you mean"):
        build("tevatron", {"score": True})


def test_a_set_that_does_not_say_its_number_of_negatives_needs_the_option() -> None:
    form = build("id_triple", {})
    with pytest.raises(ConfigurationError, match="set num_negatives"):
        form.write(plain(), split="train", part="p")
    assert build("id_triple", {"num_negatives": 1}).number_of_negatives() == 1


@st.composite
def parts(draw: st.DrawFn) -> pa.Table:
    scores = st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False))
    rows = []
    for place in range(draw(st.integers(0, 4))):
        found = draw(st.lists(scores, min_size=1, max_size=3))
        negatives = draw(st.lists(scores.filter(lambda s: s is not None), max_size=4))
        rows.append(
            query(
                f"q{place}",
                [item(f"{place}p{n}", score) for n, score in enumerate(found)],
                [item(f"{place}n{n}", score) for n, score in enumerate(sorted(negatives)[::-1])],
                query=draw(st.text(max_size=5)),
            )
        )
    return part(*rows)


@given(rows=parts())
@pytest.mark.parametrize("name", FORMATS)
def test_any_part_is_projected_without_loss(name: str, rows: pa.Table) -> None:
    form, written = made(name, rows)
    of_queries = Counter(written.left_out)
    dropped = sum(
        of_queries[code]
        for code in (
            codes.NO_POSITIVE, codes.TOO_FEW_NEGATIVES, codes.TOO_FEW_DOCUMENTS
        )
    )  # fmt: skip
    assert written.queries + dropped == rows.num_rows
    if written.rows:
        table = rows_of(form, written)
        assert table.num_rows == written.rows
        assert set(table["query_id" if "query_id" in table.column_names else "query"].to_pylist())


@given(score=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_scores_survive_json_bit_by_bit(score: float) -> None:
    rows = part(query("q", [item("a", score)], [item("b", 0.0), item("c", 0.0)]))
    _, written = made("flag_embedding", rows)
    line = json.loads(written.files["train/part-00000.jsonl"])
    assert isinstance(line["pos_scores"][0], float)
    assert np.float32(line["pos_scores"][0]).tobytes() == np.float32(score).tobytes()
