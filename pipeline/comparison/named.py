"""A model as ``rerank compare --model`` names it: a name, and settings of its own behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pipeline.config import JobConfig, load_config
from pipeline.engine.families import with_settings
from pipeline.errors import ConfigurationError, RerankError

#: Sections that belong to one model; everything else is the same for all.
_OWN: Final = ("model", "engine")

#: A comma ends a name or value where a setting follows; other commas are part of these.
_SEPARATOR: Final = re.compile(r",(?=[A-Za-z_][A-Za-z0-9_.]*=)")


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """One ``--model NAME[,KEY=VALUE...]``.

    Attributes:
        label: as it was written; what reports call it.
        name: as ``model.name``.
        settings: ``KEY=VALUE`` as ``--set`` takes them.
    """

    label: str
    name: str
    settings: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> NamedModel:
        """Parse it. A key without a section is a setting of the model's family.

        Raises:
            ConfigurationError: there is no name, or a key is of another section.
        """
        name, *settings = (part.strip() for part in _SEPARATOR.split(text))
        if not name:
            raise ConfigurationError(
                f"--model {text!r}: expected NAME[,KEY=VALUE...], such as all-minilm-l6-v2 or "
                "'bge-reranker-base,max_length=256'"
            )
        return cls(label=text, name=name, settings=tuple(_key(text, one) for one in settings))

    def job(self, base: JobConfig) -> JobConfig:
        """The job with this model in place of its own.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        data = base.model_dump(mode="json", exclude={"model"}) | {"model": {"name": self.name}}
        with self.named_in_errors():
            return load_config(JobConfig, data, overrides=self.settings, opened=with_settings)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Say in errors of the body which of the models is meant."""
        try:
            yield
        except RerankError as error:
            raise type(error)(f"--model {self.label}: {error}") from error


def named_models(texts: Sequence[str]) -> list[NamedModel]:
    """Every model that is to be compared.

    Raises:
        ConfigurationError: there is none, one is named twice, or see :meth:`NamedModel.of`.
    """
    if not texts:
        raise ConfigurationError("--model: name at least one model; repeat the option for others")
    found = [NamedModel.of(text) for text in texts]
    for place, model in enumerate(found):
        if model in found[:place]:
            raise ConfigurationError(f"--model {model.label}: stands twice; name every model once")
    return found


def _key(text: str, setting: str) -> str:
    key = setting.partition("=")[0]
    section, dot, _ = key.partition(".")
    if not dot:
        return f"model.settings.{setting}"
    if section in _OWN:
        return setting
    raise ConfigurationError(
        f"--model {text!r}: '{key}' is no setting of one model; put max_length=..., model.KEY=... "
        "or engine.KEY=... here, and what holds for all models into --set"
    )
