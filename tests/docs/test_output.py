"""docs/output.md says the types that the columns of a run have."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline import schema
from pipeline.commands import app
from tests.makers import long_table, write

PAGE = Path(__file__).resolve().parents[2] / "docs" / "output.md"


def documented(heading: str) -> dict[str, str]:
    """Types by column of a table of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.M)
    return {name: kind.removesuffix(" or null") for name, kind in rows}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night of a refresh with every column that a setting adds, and one bad candidate."""
    folder = tmp_path_factory.mktemp("columns")
    rows = [*long_table(queries=40).to_pylist(), {"query_id": "z", "query": "a", "doc_id": "d"}]
    write(folder / "in.parquet", pa.Table.from_pylist(rows))
    (folder / "job.yaml").write_text(
        f"model: {{name: lexical}}\ninput: {{path: {folder}/in.parquet}}\n"
        f"output: {{path: {folder}/out, token_counts: true, fusion: {{method: rrf}}}}\n"
        "ray: {mode: in_process}\nrefresh: {}\n"
    )
    done = CliRunner().invoke(app, ["refresh", "-c", f"{folder}/job.yaml"])
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("kind", ["ranked", "quarantine"])
def test_columns_have_the_types_that_the_page_says(folder: Path, kind: str) -> None:
    [path] = folder.glob(f"out/*/{kind}")
    types = {f.name: str(f.type) for f in pq.ParquetDataset(str(path)).schema}
    page = documented(f"Columns of `{kind}/`")
    if kind == "ranked":
        assert page.pop(schema.CALIBRATED_SCORE) == "float"  # tests/jobs/test_calibrate.py
        as_given = {schema.QUERY_ID: "as in the input", schema.DOC_ID: "as in the input"}
        types |= as_given
    assert page == types


def test_every_column_has_a_meaning() -> None:
    shown = documented("Columns of `ranked/`") | documented("Columns of `quarantine/`")
    assert set(shown) == set(schema.MEANINGS)
