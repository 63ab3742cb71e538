from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pipeline.config import DistillConfig, load_config, to_yaml
from pipeline.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(ROOT.glob("conf/distill*.yaml"))
MINIMAL = "teachers: a\noutput: {path: out}\n"


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= keys(kind, f"{prefix}{name}.") if nested else {prefix + name}
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    load_config(DistillConfig, path.read_text(encoding="utf-8"), source=str(path))


def test_the_commented_example_names_every_setting() -> None:
    def named(data: dict[str, object], prefix: str = "") -> set[str]:
        found = set()
        for name, value in data.items():
            key = f"{prefix}{name}"
            found |= named(value, f"{key}.") if isinstance(value, dict) and value else {key}
        return found

    data = yaml.safe_load((ROOT / "conf/distill.yaml").read_text(encoding="utf-8"))
    assert named(data) == keys(DistillConfig)


def test_the_commented_example_states_the_defaults() -> None:
    text = (ROOT / "conf/distill.yaml").read_text(encoding="utf-8")
    example = load_config(DistillConfig, text)
    plain = load_config(
        DistillConfig, MINIMAL, overrides=["teachers=out/runs", "output.path=out/distill"]
    )
    assert example == plain


def test_teachers_may_be_written_short() -> None:
    for text in ("a", "[a]", "{run: a}", "[{run: a, weight: 1}]"):
        job = load_config(DistillConfig, MINIMAL, overrides=[f"teachers={text}"])
        assert [(one.run, one.weight) for one in job.teachers] == [("a", 1.0)]
    assert load_config(DistillConfig, to_yaml(job)) == job


def test_the_preset_is_a_margin() -> None:
    job = load_config(DistillConfig, MINIMAL, overrides=["negatives.preset=topk_percpos"])
    assert (job.negatives.margin, job.negatives.has_margin) == (0.05, True)
    plain = load_config(DistillConfig, MINIMAL)
    assert (plain.negatives.margin, plain.negatives.has_margin) == (None, False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teachers=[]"], "teachers"),
        (["teachers=[{runs: a}]"], "teachers"),
        (["teacher=a"], "unknown key 'teacher'; did you mean 'teachers'"),
        (["negatives.relativ_margin=1"], "did you mean 'relative_margin'"),
        (["teachers=[{run: a, weight: 2}]"], "weight has no effect on mean"),
        (["combination={method: rank_fusion, scores: standardised}"], "no effect on rank_fusion"),
        (["combination.scores=calibrated"], "calibrated needs positives.qrels"),
        (["positives.source=both"], "both needs positives.qrels"),
        (["positives.corpus=c"], "set positives.source to qrels or both"),
        (["negatives={range_min: 5, range_max: 5}"], r"range_max \(5\) must be above range_min"),
        (["negatives.min_negatives=4"], r"min_negatives \(4\) is above num_negatives \(3\)"),
        (["negatives={min_score: 1, max_score: 0}"], r"min_score \(1.0\) is above max_score"),
        (["negatives={preset: topk_percpos, relative_margin: 0.1}"], "remove one of them"),
        (["negatives={preset: topk_percpos, sampling_strategy: random}"], "remove one of them"),
        (["negatives={false_negatives: keep, absolute_margin: 1}"], "keep contradicts a margin"),
        (["negatives={false_negatives: keep, preset: topk_percpos}"], "keep contradicts a margin"),
        (["decontaminate.documents=true"], "needs decontaminate.qrels"),
        (["split.dev_fraction=1"], "split.dev_fraction"),
    ],
)
def test_settings_that_contradict_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_config(DistillConfig, MINIMAL, overrides=overrides)
