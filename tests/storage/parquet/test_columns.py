from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_metadata, read_rows, read_table
from pipeline.storage.store import identify
from tests import hostile
from tests.hostile import declared, write_declared


def rows_of(path: Path, *columns: str) -> list[dict[str, object]]:
    batches = read_rows(str(path), 0, 10**9, columns=columns)
    return [row for batch in batches for row in batch.to_pylist()]


def nested(kind: pa.DataType, extension: str = hostile.PICKLED) -> dict[str, pa.DataType]:
    """Types that have a field of an extension type somewhere inside."""
    inner = declared("inner", kind, extension)
    return {
        "struct": pa.struct([inner]),
        "list": pa.list_(declared("item", kind, extension)),
        "large_list": pa.large_list(pa.field("item", pa.struct([inner]))),
        "list_of_lists": pa.list_(pa.list_(pa.struct([pa.field("a", pa.struct([inner]))]))),
        "map": pa.map_(pa.string(), pa.struct([inner])),
    }


@pytest.mark.parametrize("where", ["top", *nested(pa.binary())])
@pytest.mark.parametrize("extension", [hostile.PICKLED, "ray.data.arrow_tensor_v2", "unheard.of"])
def test_extension_types_are_refused_at_any_depth(
    tmp_path: Path, where: str, extension: str
) -> None:
    kind = pa.binary()
    field = declared("evil", kind, extension)
    if where != "top":
        field = pa.field("evil", nested(kind, extension)[where])
    table = pa.table(
        [pa.array(["a"]), pa.nulls(1, field.type)], pa.schema([("x", "string"), field])
    )
    path = write_declared(tmp_path / "evil.parquet", table)
    assert rows_of(path, "x") == [{"x": "a"}]
    assert read_table(str(path), columns=["x"]).num_rows == 1
    for read in (
        lambda: rows_of(path, "x", "evil"),
        lambda: read_table(str(path)),
        lambda: read_table(str(path), columns=["evil"]),
    ):
        with pytest.raises(InputContractError, match=rf"evil\.parquet: column 'evil.*{extension}"):
            read()
    read_metadata(str(path))


def test_a_dictionary_of_an_extension_type_is_refused(tmp_path: Path) -> None:
    field = declared("evil", pa.dictionary(pa.int32(), pa.string()))
    table = pa.table([pa.array(["a"]).dictionary_encode()], pa.schema([field]))
    path = write_declared(tmp_path / "evil.parquet", table)
    with pytest.raises(InputContractError, match="extension type"):
        read_table(str(path))


_IN_A_PROCESS_WITH_RAY = """
import sys
import ray.data
import pyarrow.parquet as pq
from pathlib import Path
from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType
from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_rows, read_table
from pipeline.storage.store import identify

path, marker = sys.argv[1], Path(sys.argv[2])
schema = pq.ParquetFile(path).schema_arrow
assert isinstance(schema.field("flat").type, ArrowPythonObjectType), schema
read_footer(identify(path))
for columns in (["flat"], ["deep"], ["x", "flat", "deep"]):
    for read in (lambda: list(read_rows(path, 0, 9, columns=columns)),
                 lambda: read_table(path, columns=columns)):
        try:
            read()
        except InputContractError as error:
            assert "arrow_pickled_object" in str(error), error
        else:
            raise AssertionError(columns)
assert read_table(path, columns=["x"]).to_pylist() == [{"x": "a"}]
assert not marker.exists()
pq.read_table(path).to_pylist()
assert marker.exists(), "the payload does not work, so this proves nothing"
"""


def test_no_pickle_is_loaded_where_ray_has_registered_its_types(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = hostile.payload(marker)
    deep = pa.list_(pa.struct([declared("a", pa.large_binary())]))
    table = pa.table(
        [pa.array(["a"]), pa.array([data], pa.large_binary()), pa.array([[{"a": data}]], deep)],
        pa.schema([("x", pa.string()), declared("flat", pa.large_binary()), ("deep", deep)]),
    )
    path = write_declared(tmp_path / "evil.parquet", table)
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS_WITH_RAY, str(path), str(marker)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_uuid_and_json_are_read_as_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "plain.parquet"
    table = pa.table(
        {"u": pa.array([b"0123456789abcdef"], pa.uuid()), "j": pa.array(["{}"], pa.json_())}
    )
    for store_schema in (True, False):
        pq.write_table(table, path, store_schema=store_schema)
        assert rows_of(path, "u", "j") == [{"u": b"0123456789abcdef", "j": "{}"}]
        assert read_footer(identify(str(path))).uuids == {("u", "u")}
