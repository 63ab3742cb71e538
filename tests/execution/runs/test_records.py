from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import DamagedRunError
from pipeline.execution.runs import records


def manifest(units: int) -> dict[str, Any]:
    names = [f"{number:024x}" for number in range(units)]
    return {
        "run_id": "ab" * 8, "fingerprint": "f", "model": "m", "score_scale": "logit",
        "units": [
            {
                "unit": name, "queries": 1, "documents": 1, "tokens": 1, "reasons": {},
                "files": [
                    {"key": f"ranked/unit-{name}.parquet", "size": 1, "rows": 1, "sha256": "0" * 64}
                ],
            }
            for name in names
        ],
        "queries": units, "documents": units, "tokens": units, "quarantined": 0, "reasons": {},
    }  # fmt: skip


def test_a_long_manifest_is_what_was_written() -> None:
    content = manifest(2_500)
    data = records.to_bytes(records.Manifest, content)
    assert records.parse("m", data, records.Manifest, run_id="ab" * 8) == content
    # The bytes are those that versions before wrote, whose digests stand in published runs.
    whole = {"kind": "manifest", **content, "seal": json.loads(data)["seal"]}
    assert data == json.dumps(whole, indent=2).encode() + b"\n"


@pytest.mark.parametrize("place", [0, 999, 1_000, 2_001])
def test_the_unit_that_is_wrong_is_named(place: int) -> None:
    content = manifest(2_500)
    content["units"][place]["files"][0]["size"] = -1
    data = records.to_bytes(records.Manifest, content)
    with pytest.raises(DamagedRunError, match=rf"'units\.{place}\.files\.0\.size'"):
        records.parse("m", data, records.Manifest)


def test_what_is_no_list_is_named() -> None:
    data = records.to_bytes(records.Manifest, manifest(1) | {"units": {}})
    with pytest.raises(DamagedRunError, match="'units'"):
        records.parse("m", data, records.Manifest)
