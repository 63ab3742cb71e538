"""A secret in any text of any configuration is refused by its key, and never repeated."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.config import DistillConfig, JobConfig, RefreshConfig, load_config
from pipeline.config.diff import DiffConfig
from pipeline.config.reading.setting_types import alternatives, element, is_model
from pipeline.errors import ConfigurationError
from pipeline.outputs.feeds.support import finding

MARKER = "hunter22Marker"

SECRETS = [
    f"s3://AKIDEXAMPLE:{MARKER}@bucket/key",
    f"s3://bucket/key?X-Amz-Signature={MARKER}",
    f"https://{MARKER}@host/photos",
    f"https://host/photos#access_token={MARKER}",
    f"https://account.blob.core.windows.net/c?sv=2020&sig={MARKER}",
    f"redis://:{MARKER}@feed:6379/0",
    f"rediss://default:{MARKER}@feed",
    f"postgresql://me:{MARKER}@db/rankings?sslmode=require",
    f"postgresql://db/rankings?user=me&password={MARKER}",
    f"host=db user=me password={MARKER}",
    f"AccountName=me;AccountKey={MARKER};EndpointSuffix=core.windows.net",
    f"Endpoint=sb://bus.example.com/;SharedAccessKey={MARKER}",
    f"https://x-access-token:{MARKER}@github.com/a/b",
    f"hf_{MARKER}{'a' * 20}",
    f"ghp_{MARKER}{'a' * 22}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{MARKER}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{MARKER}",
]

Path = tuple[str, ...]


def texts(kind: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Where a model takes texts, and a function that puts one there."""
    for taken in alternatives(kind):
        origin = get_origin(taken)
        if is_model(taken):
            for name, field in taken.model_fields.items():
                for below, put in texts(field.annotation, (*path, name)):
                    yield below, lambda text, name=name, put=put: {name: put(text)}
        elif taken in (str, Any):
            yield path, lambda text: text
        elif origin in (tuple, list):
            for below, put in texts(element(taken), path):
                yield below, lambda text, put=put: [put(text)]
        elif origin is dict:
            for below, put in texts(get_args(taken)[1], path):
                yield below, lambda text, put=put: {"x": put(text)}
            yield path, lambda text: {text: "x"}
        elif isinstance(taken, types.GenericAlias):
            raise AssertionError(f"{path}: how are values of {taken} made?")


MODELS: list[type[BaseModel]] = [JobConfig, RefreshConfig, DistillConfig, DiffConfig]
PLACES = [(model, path, put) for model in MODELS for path, put in texts(model)]


def test_there_are_places_of_all_kinds() -> None:
    named = {".".join(path) for model, path, _ in PLACES if model is RefreshConfig}
    assert named >= {
        "model.weights", "model.settings", "input.path", "input.images.base", "input.images.roots",
        "output.path", "output.columns", "ray.address", "replicas.labels", "refresh.feeds.name",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "path", "put"), PLACES, ids=[f"{m.__name__}-{'.'.join(p)}" for m, p, _ in PLACES]
)
def test_no_setting_takes_a_secret_or_repeats_it(
    model: type[BaseModel], path: Path, put: Any
) -> None:
    for secret in SECRETS:
        with pytest.raises(ConfigurationError) as refused:
            load_config(model, yaml.safe_dump(put(secret)), source="job.yaml")
        assert "holds credentials" in str(refused.value), secret
        assert ".".join(path) in str(refused.value)
        assert MARKER not in str(refused.value)


@pytest.mark.parametrize("secret", SECRETS)
def test_overrides_take_none(secret: str) -> None:
    for key in ("output.path", "model.settings.x", "nowhere.at.all", "units.documents"):
        with pytest.raises(ConfigurationError) as refused:
            load_config(JobConfig, "{}", overrides=[f"{key}={secret}"])
        assert MARKER not in str(refused.value)


@pytest.mark.parametrize("kind", finding.names())
def test_no_feed_takes_one(kind: str) -> None:
    settings = finding.find(kind).Settings
    feed = {"name": "a", "kind": kind}
    for path, put in texts(settings):
        for secret in SECRETS:
            with pytest.raises(ConfigurationError) as refused:
                load_config(RefreshConfig, {"refresh": {"feeds": [feed | put(secret)]}})
            assert "holds credentials" in str(refused.value), (path, secret)
            assert MARKER not in str(refused.value)


@given(
    place=st.sampled_from(PLACES),
    before=st.text("ab/ :=&?", max_size=6),
    secret=st.sampled_from(SECRETS[:9]),
)
def test_nor_somewhere_in_a_text(place: Any, before: str, secret: str) -> None:
    model, _, put = place
    try:
        load_config(model, put(f"{before} {secret}"))
    except ConfigurationError as refused:
        assert MARKER not in str(refused)
    else:
        raise AssertionError(f"{before} {secret} was taken")
