"""YAML by the types of the settings: a text stays the text that was written.

YAML alone makes a number of ``1.0``, a boolean of ``no``, an octal of ``0012`` and a date of
``2024-01-01``, wherever they stand. Here a value becomes what its setting is: characters for a
string, a number for a number. The documents themselves are limited, since a job file may come from
anywhere: no tags, no key twice, no alias that contains itself, and no aliases that make a large
document of a small one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, Final

import yaml

from pipeline.config.reading.scalars import read_scalar
from pipeline.config.reading.setting_types import (
    alternatives,
    element,
    is_text,
    member,
    takes_list,
    takes_mapping,
)

#: Far more than any job file holds; aliases count as often as they are used.
_MOST_VALUES: Final = 20_000
_DEEPEST: Final = 50
_TAG: Final = "tag:yaml.org,2002:"


class TypedYamlError(ValueError):
    """A document is not YAML, or not of a kind that is accepted; the message says where."""


def read_document(text: str, kind: Any) -> Any:
    """A document as plain data for a value of type ``kind``.

    Raises:
        TypedYamlError: see its class.
    """
    try:
        node = _composed(text)
        return None if node is None else _Reading().value(node, kind)
    except yaml.YAMLError as error:
        raise TypedYamlError(f"not valid YAML: {_problem(error)}") from None
    except RecursionError:
        raise TypedYamlError("nested too deeply") from None


def read_value(text: str, kind: Any) -> Any:
    """What was typed after ``KEY=``, for a setting of type ``kind``.

    A string is taken character by character. ``null`` is nothing where the setting may be nothing;
    ``[a, b]`` and ``{k: v}`` are YAML where it is a list or a mapping; a text wholly in quotes is
    what YAML reads between them.

    Raises:
        TypedYamlError: a list or mapping is not valid YAML.
    """
    kinds = alternatives(kind)
    if text == "null" and (NoneType in kinds or Any in kinds):
        return None
    if (quoted := _quoted(text)) is not None:
        return quoted
    shape = text.strip()
    if shape[:1] + shape[-1:] == "{}" and any(map(takes_mapping, kinds)):
        return read_document(shape, kind)
    if shape[:1] + shape[-1:] == "[]" and any(map(takes_list, kinds)):
        try:
            return read_document(shape, kind)
        except TypedYamlError:
            if not is_text(kinds):
                raise
    if is_text(kinds):
        return text
    plain = read_scalar(shape, kinds)
    return text if isinstance(plain, str) else plain


class _Reading:
    """One pass over the nodes of a document."""

    def __init__(self) -> None:
        self.values = 0
        self.above: list[int] = []

    def value(self, node: yaml.Node, kind: Any) -> Any:
        self.values += 1
        if id(node) in self.above:
            raise TypedYamlError(f"{_place(node)}: an alias that contains itself")
        if self.values > _MOST_VALUES:
            raise TypedYamlError(
                f"{_place(node)}: more than {_MOST_VALUES:,} values, aliases counted as often as "
                "they are used; write out what is meant"
            )
        if len(self.above) > _DEEPEST:
            raise TypedYamlError(f"{_place(node)}: nested too deeply")
        self.above.append(id(node))
        try:
            return self._value(node, kind)
        finally:
            self.above.pop()

    def _value(self, node: yaml.Node, kind: Any) -> Any:
        name = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and name == "map":
            return self._mapping(node, kind)
        if isinstance(node, yaml.SequenceNode) and name == "seq":
            inner = element(kind)
            return [self.value(item, inner) for item in node.value]
        if isinstance(node, yaml.ScalarNode):
            return _scalar_of(node, kind)
        raise TypedYamlError(f"{_place(node)}: the tag '{node.tag}' is not accepted")

    def _mapping(self, node: yaml.MappingNode, kind: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        first: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                for name, value in self._merged(value_node, kind).items():
                    inherited.setdefault(name, value)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise TypedYamlError(f"{_place(key_node)}: a key must be a plain word")
            key = str(key_node.value)
            if key in first:
                raise TypedYamlError(
                    f"{_place(key_node)}: the key '{key}' stands there twice, first on "
                    f"{_place(first[key])}; keep one of them"
                )
            first[key] = key_node
            found[key] = self.value(value_node, member(kind, key))
        return {**inherited, **found}

    def _merged(self, node: yaml.Node, kind: Any) -> Mapping[str, Any]:
        """What ``<<: *other`` brings in; of several, the first that has a key."""
        value = self.value(node, kind)
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in several):
            raise TypedYamlError(f"{_place(node)}: << takes a mapping, or a list of mappings")
        return {key: mapping[key] for mapping in reversed(several) for key in mapping}


def _scalar_of(node: yaml.ScalarNode, kind: Any) -> Any:
    name, text = node.tag.removeprefix(_TAG), str(node.value)
    if name not in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge"):
        raise TypedYamlError(f"{_place(node)}: the tag '{node.tag}' is not accepted")
    if node.style is not None:
        return text  # quoted, or a block of text
    if name == "null":
        return None
    kinds = alternatives(kind)
    return text if is_text(kinds) else read_scalar(text, kinds)


def _composed(text: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _quoted(text: str) -> str | None:
    """What stands between the quotes of a text that is one quoted YAML string."""
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        return None
    try:
        node = _composed(text)
    except yaml.YAMLError:
        return None
    return str(node.value) if isinstance(node, yaml.ScalarNode) and node.style else None


def _place(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _problem(error: yaml.YAMLError) -> str:
    """One line of what PyYAML says in several."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    said = getattr(error, "problem", None) or str(error)
    return where + " ".join(said.split())
