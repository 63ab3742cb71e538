from __future__ import annotations

import hashlib
import io
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.bench.inputs.pages import page
from pipeline.bench.inputs.workloads import WORKLOADS, Work, make
from pipeline.bench.models.shapes import SHAPES
from pipeline.config import ImagesConfig
from pipeline.errors import ConfigurationError
from pipeline.images.decoder import decoder
from pipeline.images.decoding import ImageSize


def by_spaces(texts: list[str]) -> np.ndarray:
    return np.array([len(text.split()) for text in texts])


@cache
def made(name: str, *, reuse: int = 1, seed: int = 0) -> Work:
    return make(
        WORKLOADS[name], "s", reuse=reuse, seed=seed, tokens=by_spaces, page_tokens=(4, 3), scan=1
    )


def test_a_workload_is_the_same_on_every_machine() -> None:
    """Neither numpy's generators nor a tokenizer has a part in the texts of this one."""
    lists = made("msmarco").lists
    texts = [
        *lists.queries.column("query").to_pylist(),
        *lists.documents.column("text").to_pylist(),
    ]
    content = hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()
    assert content == "e13eb2268107dbae"
    assert made("msmarco", seed=1).lists.documents.column("text")[0].as_py() not in texts


@pytest.mark.parametrize("name", WORKLOADS)
def test_lists_are_as_the_workload_says(name: str) -> None:
    work = made(name)
    lists, candidates = WORKLOADS[name].sizes["s"]
    assert len(work.lists) == lists
    assert np.diff(work.lists.offsets).tolist() == [candidates] * lists
    assert work.distinct == work.documents == lists * candidates
    assert set(WORKLOADS[name].models) <= set(SHAPES)


@settings(max_examples=20)
@given(st.sampled_from(["msmarco", "page768"]), st.integers(1, 12))
def test_every_document_is_in_as_many_lists_as_asked(name: str, reuse: int) -> None:
    work = made(name, reuse=reuse)
    ids = np.array(work.lists.documents.column("doc_id").to_pylist())
    _, counts = np.unique(ids, return_counts=True)
    assert counts.tolist() == [reuse] * work.distinct
    by_list = ids.reshape(len(work.lists), -1)
    assert all(len(set(row)) == len(row) for row in by_list.tolist())
    what = "image" if name == "page768" else "text"
    assert len(work.lists.documents.column(what).unique()) == work.distinct


@given(st.integers(1, 250))
def test_units_hold_all_lists_in_order(documents: int) -> None:
    work = made("msmarco")
    units = list(work.units(documents))
    found = [row for unit in units for row in unit.documents.column("doc_id").to_pylist()]
    assert found == work.lists.documents.column("doc_id").to_pylist()
    assert [q for unit in units for q in unit.queries.column("query_id").to_pylist()] == (
        work.lists.queries.column("query_id").to_pylist()
    )
    assert all(unit.documents.num_rows >= documents for unit in units[:-1])
    assert all(unit.offsets[-1] == unit.documents.num_rows for unit in units)


def test_units_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="1 or more"):
        list(made("yesno").units(0))


@pytest.mark.parametrize(("rows", "columns", "scan"), [(32, 24, 2), (4, 3, 1)])
def test_pages_have_exactly_the_stated_visual_tokens(rows: int, columns: int, scan: int) -> None:
    data = page(5, rows=rows, columns=columns, scan=scan)
    seen = decoder().pixels(data, ImagesConfig(), ImageSize())
    assert seen.shape == (28 * rows, 28 * columns, 3)
    assert Image.open(io.BytesIO(data)).size == (28 * scan * columns, 28 * scan * rows)
    assert data != page(6, rows=rows, columns=columns, scan=scan)
    assert 10 < seen.mean() < 245  # ink on paper
