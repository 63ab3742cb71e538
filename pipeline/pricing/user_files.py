"""Files of the user's own beside those that are shipped: prices and measured rates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pipeline.config import Settings, load_config
from pipeline.errors import ConfigurationError

T = TypeVar("T", bound=Settings)

#: A file of prices or rates has a few kilobytes; what is larger is something else.
_LARGEST: Final = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class UserFile:
    """Where a file of the user's own is looked for.

    Attributes:
        variable: of the environment, which names the file.
        name: of the file in the working directory, where the variable is not set.
    """

    variable: str
    name: str

    def path(self, environ: Mapping[str, str] | None = None) -> Path:
        """Where the file is, or would be written."""
        given = (os.environ if environ is None else environ).get(self.variable)
        return Path(given or self.name)

    def found(self, environ: Mapping[str, str] | None = None) -> Path | None:
        """The file; None where there is none.

        Raises:
            ConfigurationError: the variable names a file that is not there.
        """
        path = self.path(environ)
        if path.is_file():
            return path
        if (os.environ if environ is None else environ).get(self.variable):
            raise ConfigurationError(
                f"{self.variable}: {path} is no file; name one that is there, or unset the variable"
            )
        return None


PRICES: Final = UserFile(variable="RERANK_PRICES", name="rerank-prices.yaml")
RATES: Final = UserFile(variable="RERANK_RATES", name="rerank-rates.yaml")


def read(model: type[T], path: Path) -> T:
    """A file as ``model`` has it.

    Raises:
        ConfigurationError: it cannot be read, or a key or value in it is wrong; names both.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
    if len(data) > _LARGEST:
        raise ConfigurationError(f"{path}: larger than {_LARGEST >> 20} MiB; expected YAML")
    return load_config(model, text, source=str(path))
