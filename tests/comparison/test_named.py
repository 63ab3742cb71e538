from __future__ import annotations

import pytest

from pipeline.comparison.named import NamedModel, named_models
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError

BASE = JobConfig.model_validate(
    {
        "model": {"name": "bge-reranker-base", "settings": {"max_length": 99}},
        "input": {"path": "in.parquet", "text_columns": ["title", "body"]},
        "output": {"path": "out"},
        "engine": {"dtype": "bfloat16", "token_budget": 64},
        "limit": 5,
    }
)


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("lexical", "lexical", ()),
        ("s3://models/a,b=c d/e", "s3://models/a", ("model.settings.b=c d/e",)),
        ("folder, with a comma", "folder, with a comma", ()),
        ("a,max_length=3,engine.dtype=int8", "a",
         ("model.settings.max_length=3", "engine.dtype=int8")),
        ("org/model,model.revision=0012", "org/model", ("model.revision=0012",)),
        ("x,labels=[a, b],k=v,w", "x", ("model.settings.labels=[a, b]", "model.settings.k=v,w")),
    ],
)  # fmt: skip
def test_a_name_and_settings_behind_it(text: str, name: str, settings: tuple[str, ...]) -> None:
    assert NamedModel.of(text) == NamedModel(label=text, name=name, settings=settings)


def test_the_job_of_a_model_has_everything_but_the_model_of_the_job() -> None:
    job = NamedModel.of("ms-marco-minilm-l6-v2,max_length=64,engine.dtype=float32").job(BASE)
    assert job.model.name == "ms-marco-minilm-l6-v2"
    assert job.model.settings == {"max_length": 64}
    assert job.engine == BASE.engine.model_copy(update={"dtype": "float32"})
    kept = {name for name in JobConfig.model_fields if name not in ("model", "engine")}
    assert job.model_dump(include=kept) == BASE.model_dump(include=kept)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "--model: name at least one model"),
        ([",max_length=3"], "expected NAME[,KEY=VALUE...]"),
        (["a", "b", "a"], "--model a: stands twice"),
        (["a,input.path=b"], "'input.path' is no setting of one model"),
    ],
)
def test_what_names_no_model_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        named_models(texts)
    assert message in str(raised.value)


def test_errors_say_which_model_is_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"^--model lexical,engine\.dtyp=int8: unknown"):
        NamedModel.of("lexical,engine.dtyp=int8").job(BASE)
