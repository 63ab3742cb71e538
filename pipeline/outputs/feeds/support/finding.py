"""Finding a kind of feed by the name of its file; there is no registry to edit."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

import pipeline.outputs.feeds
from pipeline.config.feeds import FeedConfig
from pipeline.config.reading.loading import nearest, validate
from pipeline.errors import ConfigurationError
from pipeline.outputs.feeds.support.base import Feed
from pipeline.plugins import file_names, only_class


def names() -> list[str]:
    """Every kind: the files of ``pipeline/outputs/feeds``."""
    return file_names(pipeline.outputs.feeds)


def find(kind: str, *, setting: str = "feeds") -> type[Feed]:
    """The class of a kind.

    Args:
        kind: of feed.
        setting: where it was named, for errors.

    Raises:
        ConfigurationError: there is no such file, or it does not define exactly one feed.
    """
    if kind not in names():
        raise ConfigurationError(f"{setting}: unknown kind '{kind}'; {nearest(kind, names())}")
    module = importlib.import_module(f"pipeline.outputs.feeds.{kind}")
    return only_class(module, Feed, setting=setting, called="feed")


def build(config: FeedConfig) -> Feed:
    """A feed with its settings, validated.

    Raises:
        ConfigurationError: an unknown kind or setting, or a wrong value, named as
            ``feeds.NAME.KEY``.
    """
    where = f"feeds.{config.name}"
    kind = find(config.kind, setting=f"{where}.kind")
    return kind(validate(kind.Settings, config.settings, prefix=where), name=config.name)


def build_all(configs: Iterable[FeedConfig]) -> list[Feed]:
    """The feeds of a configuration, in its order.

    Raises:
        ConfigurationError: see :func:`build`; or two feeds have one name.
    """
    feeds = [build(config) for config in configs]
    given = [feed.name for feed in feeds]
    for name in given:
        if given.count(name) > 1:
            raise ConfigurationError(
                f"feeds: two have the name '{name}'; a name stands for one target, give each its "
                "own"
            )
    return feeds
