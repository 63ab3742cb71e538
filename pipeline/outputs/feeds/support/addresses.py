"""Where a store is: an address with its secret, which only the environment holds."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from pipeline.errors import ConfigurationError

#: Name of an environment variable; a URL given in its place is refused, and not repeated.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


def address_in(variable: str, *, feed: str, example: str) -> str:
    """What an environment variable says.

    Args:
        variable: its name.
        feed: name of the feed that needs it.
        example: of a value, without a secret.

    Raises:
        ConfigurationError: it is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise ConfigurationError(
            f"feeds.{feed}.url_env: the environment variable {variable} is not set; it holds the "
            f"address of the store, such as {example}"
        )
    return value
