"""Columns that some library would unpickle: refused by column and type, in every family and layout.

Each case runs in a process that has imported ray.data, which registers the type, and with Ray's
settings that let it unpickle; the marker that the pickle makes is never there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.engine.families import names
from tests import hostile
from tests.hostile import PICKLED, declared, write_declared
from tests.rerankers.test_mono_qwen2_vl import write_base

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens"

#: A checkpoint for each family: its own, or one of the same architecture, for the input is refused
#: before any weights are read.
CHECKPOINTS = {
    "bidirectional_decoder": "llama-nemotron-rerank-tiny", "cross_encoder": "bge-reranker-tiny",
    "decoder_classifier": "qwen3-seq-cls-tiny", "jina_m0": "jina-reranker-m0",
    "jina_v1": "jina-reranker-v1-turbo-tiny", "jina_v2": "jina-reranker-v2-tiny",
    "jina_v3": "jina-reranker-v3", "late_interaction": "jina-colbert-v2-tiny",
    "listwise_generation": "qwen3-reranker-tiny",
    "pairwise": "qwen3-reranker-tiny", "qwen3_reranker": "qwen3-reranker-tiny",
    "qwen3_vl_reranker": "qwen3-vl-reranker-tiny",
    "token_logit": "zerank-tiny",
}  # fmt: skip

#: Families that need none, or come with one.
CARDS = {"bi_encoder": "all-minilm-l6-v2", "lexical": "lexical"}

#: Runs jobs of a list one after the other; the last line is what became of each.
SCRIPT = """
import json, sys
import ray.data
from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType
from pipeline.config import JobConfig
from pipeline.errors import RerankError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
found = []
for job in json.load(sys.stdin):
    try:
        execute(prepare(JobConfig.model_validate(job)))
        found.append("published")
    except RerankError as error:
        found.append(f"{error.exit_code} {error}")
print(json.dumps(found))
"""

#: Extension types of Ray, and of anybody.
TYPES = (PICKLED, "ray.data.arrow_tensor", "ray.data.arrow_tensor_v2",
         "ray.data.arrow_variable_shaped_tensor", "arrow.py_extension_type", "mine")  # fmt: skip


def outcomes(jobs: list[dict[str, Any]]) -> list[str]:
    allowed = {
        f"RAY_DATA_AUTOLOAD_{name}": "1"
        for name in ("PICKLE_OBJECT_SCALAR", "PYEXTENSIONTYPE", "CLOUDPICKLE_TENSOR_METADATA")
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(jobs), capture_output=True, text=True,
        cwd=ROOT, env=os.environ | allowed, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def job(path: Path, output: Path, model: dict[str, Any], **write: Any) -> dict[str, Any]:
    return {
        "model": model, "input": {"path": str(path)}, "output": {"path": str(output), **write},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
    }  # fmt: skip


def model_of(family: str, page_model: Path) -> dict[str, Any]:
    if family == "mono_qwen2_vl":
        return {"family": family, "weights": str(page_model)}
    if family in CARDS:
        return {"name": CARDS[family]}
    return {"family": family, "weights": str(GOLDENS / CHECKPOINTS[family])}


def crafted(path: Path, role: str, layout: str, data: bytes, extension: str = PICKLED) -> Path:
    """Candidates whose column ``role`` is of an extension type; ``image.bytes`` is a field."""
    outer_name, _, inner_name = role.partition(".")
    field = declared(inner_name or role, pa.large_binary(), extension)
    value: Any = data
    if inner_name:
        field, value = pa.field(outer_name, pa.struct([field])), {inner_name: data}
    fields = {name: pa.field(name, pa.string()) for name in ("query_id", "query", "doc_id", "text")}
    fields[outer_name] = field
    values = {name: "x" for name in fields} | {outer_name: value}
    if layout == "long":
        table = pa.table(
            [pa.array([values[name]], one.type) for name, one in fields.items()],
            pa.schema(list(fields.values())),
        )
        return write_declared(path, table)
    outer = [name for name in fields if name in ("query_id", "query", "query_image")]
    inner = [name for name in fields if name not in outer]
    lists = pa.list_(pa.struct([fields[name] for name in inner]))
    schema = pa.schema([*(fields[name] for name in outer), ("candidates", lists)])
    candidates = pa.array([[{name: values[name] for name in inner}]], lists)
    columns = [pa.array([values[name]], fields[name].type) for name in outer]
    return write_declared(path, pa.table([*columns, candidates], schema))


@pytest.mark.parametrize("layout", ["long", "nested"])
def test_no_family_unpickles_a_column(tmp_path: Path, layout: str) -> None:
    marker = tmp_path / "marker"
    data = hostile.payload(marker)
    roles = ("query_id", "query", "doc_id", "text", "image", "image.bytes", "query_image", "kept")
    (tmp_path / "page-model").mkdir()
    page_model = write_base(tmp_path / "page-model")
    jobs, wanted = [], []
    for family in names():
        for role in roles:
            path = crafted(tmp_path / f"{role}.parquet", role, layout, data)
            write = {"columns": ["kept"]} if role == "kept" else {}
            jobs.append(job(path, tmp_path / "runs", model_of(family, page_model), **write))
            wanted.append((family, role))
    for (family, role), found in zip(wanted, outcomes(jobs), strict=True):
        assert f"{role}' is of the extension type '{PICKLED}'" in found, (family, found)
        assert found.startswith("3 "), (family, found)
    assert not marker.exists()
    assert not (tmp_path / "runs" / "LATEST.json").exists()


def nested_kinds(field: pa.Field, data: bytes) -> dict[str, tuple[pa.DataType, Any]]:
    struct = pa.struct([field])
    return {
        "list": (pa.list_(field), [data]),
        "struct": (struct, {field.name: data}),
        "list of structs": (pa.list_(struct), [{field.name: data}]),
        "map": (pa.map_(pa.string(), struct), [("k", {field.name: data})]),
        "deep": (pa.struct([("a", pa.list_(pa.struct([("b", pa.list_(field))])))]),
                 {"a": [{"b": [data]}]}),
    }  # fmt: skip


def test_no_depth_and_no_type_makes_a_copied_column_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = hostile.payload(marker)
    jobs = []
    base = {name: pa.array(["x"]) for name in ("query_id", "query", "doc_id", "text")}
    for extension in TYPES:
        field = declared("value", pa.large_binary(), extension)
        for number, (kind, value) in enumerate(nested_kinds(field, data).values()):
            path = tmp_path / f"{extension}-{number}.parquet"
            table = pa.table(base | {"kept": pa.array([value], kind)})
            write_declared(path, table)
            jobs.append(job(path, tmp_path / "runs", {"name": "lexical"}, columns=["kept"]))
    for found in outcomes(jobs):
        assert "column 'kept." in found and "is of the extension type" in found, found
    assert not marker.exists()
