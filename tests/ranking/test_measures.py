from __future__ import annotations

import sys

import pytest

from pipeline.errors import ConfigurationError
from pipeline.ranking.measures import parse_measures as parse


def test_aliases_and_repeats() -> None:
    names = ["Recall@100", "R@100", "MRR@10", " MAP@100", "NDCG@10", "nDCG(gains={0:0,1:2})@5"]
    expected = ["R@100", "RR@10", "AP@100", "nDCG@10", "nDCG(gains={1:2})@5"]
    assert [repr(measure) for measure in parse(names)] == expected


@pytest.mark.parametrize(
    "name",
    [
        *("ndcg@10", "foo", "", "R", "nDCG@0", "P@0", "RR@0", "nDCG@-1", "nDCG@10.5", "nDCG@True"),
        *("AP@100(rel=2)", "AP(rel=0)", "nDCG(rel=2)@10", "R(REL=2)@5", "R(rel='a')@5", "nDCG(10)"),
        *(
            "nDCG@10,R@10",
            "nDCG(dcg='exp-log2')@10",
            "ERR@10",
            "NumRel",
            "nDCG(**{})",
            "P@" + "9" * 20,
        ),
        *("RR(judged_only=True)@10", "\0", "Accuracy@10", "nDCG@'x'", "nDCG(gains={1:1000001})"),
    ],
)
def test_a_measure_that_cannot_be_computed_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(["nDCG@10", name])
    assert f"measure '{name}'" in str(raised.value)
    assert "nDCG@10, RR@10, R@100, AP@100" in str(raised.value)


def test_no_measure_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no measure given"):
        parse([])


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rerank-pipeline\[eval\]'"):
        parse(["nDCG@10"])
