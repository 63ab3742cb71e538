"""The base of every settings model, and types that several of them have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.plain_text import HIDDEN, holds_credentials


class Settings(BaseModel):
    """Base of every settings model: frozen, keyword-only, unknown keys refused, no credentials.

    Numbers are finite: JSON, in which a run keeps them, has no others.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True,
        allow_inf_nan=False,
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _no_credentials(cls, data: Any) -> Any:
        if isinstance(data, dict):
            refuse_credentials(data)
        return data


def refuse_credentials(value: Any, key: str = "") -> None:
    """Refuse texts that carry a secret: a configuration is stored, logged and sent around.

    Raises:
        ValueError: one does; the message names its key and does not repeat it.
    """
    if isinstance(value, str) and holds_credentials(value):
        raise ValueError(
            f"'{key}': holds credentials (a user's secret or a signature in a URI, a password, or "
            "a token), which would be written to run.json; remove them there. They come from the "
            "environment, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an instance role"
        )
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(name, str) and holds_credentials(name):
                refuse_credentials(name, f"{key}.{HIDDEN}" if key else HIDDEN)
            refuse_credentials(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            refuse_credentials(inner, key)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_tuple)]
