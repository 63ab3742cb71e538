"""What the annotation of a setting takes: texts, numbers, lists, mappings, sections."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def alternatives(kind: Any) -> tuple[Any, ...]:
    """What a value of an annotation may be: members of unions, without ``Annotated``."""
    origin = get_origin(kind)
    if origin is Annotated:
        return alternatives(get_args(kind)[0])
    if origin in (Union, UnionType):
        return tuple(member for part in get_args(kind) for member in alternatives(part))
    return (kind,)


def member(kind: Any, key: str) -> Any:
    """The type of the value at ``key`` in a value of type ``kind``; Any where it is not known."""
    for taken in alternatives(kind):
        if is_model(taken):
            field = taken.model_fields.get(key)
            if field is not None:
                return field.annotation
        elif get_origin(taken) is dict:
            return get_args(taken)[1]
    return Any


def is_text(kinds: tuple[Any, ...]) -> bool:
    """Whether characters stand for themselves: strings, lists of them, and sections."""
    return any(
        kind is str
        or is_model(kind)
        or (get_origin(kind) is Literal and all(isinstance(v, str) for v in get_args(kind)))
        or (get_origin(kind) in (tuple, list) and is_text(alternatives(element(kind))))
        for kind in kinds
    ) and not any(kind in (int, float, bool) for kind in kinds)


def takes_list(kind: Any) -> bool:
    """Whether a member of an annotation takes a list."""
    return kind is Any or get_origin(kind) in (tuple, list)


def takes_mapping(kind: Any) -> bool:
    """Whether a member of an annotation takes a mapping, or a list of them."""
    if get_origin(kind) in (tuple, list):  # one section stands for a list of one
        return any(map(takes_mapping, alternatives(element(kind))))
    return kind is Any or get_origin(kind) is dict or is_model(kind)


def element(kind: Any) -> Any:
    """The type of the items of a list; Any where it is not known."""
    for taken in alternatives(kind):
        if get_origin(taken) in (tuple, list):
            return get_args(taken)[0]
    return Any


def is_model(kind: Any) -> bool:
    """Whether a type is that of a section."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
