"""Lines of the log on standard error: text for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pipeline.plain_text import redacted, visible

#: The logger of this package.
NAME: Final = "pipeline"

#: Attributes of a record that become keys of their own where the log is JSON.
_KEYS: Final = ("progress",)


class PlainFormatter(logging.Formatter):
    """Log lines that hold no secret and start where a line starts."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, further lines of it indented."""
        text = visible(redacted(super().format(record)), keep="\n")
        return text.replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message; further keys where given."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        found: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            found["exception"] = redacted(self.formatException(record.exc_info))
        found |= {key: value for key in _KEYS if (value := getattr(record, key, None)) is not None}
        return json_line(record.levelname, record.getMessage(), time=record.created, **found)


def json_line(level: str, message: str, *, time: float | None = None, **further: Any) -> str:
    """An object of a log that is JSON, in ASCII: no character of it acts on a terminal.

    Args:
        level: as :mod:`logging` names it.
        message: what is said; secrets are taken out of it.
        time: epoch seconds; None: now.
        further: keys beside these.
    """
    when = datetime.now(UTC) if time is None else datetime.fromtimestamp(time, UTC)
    stamp = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": stamp, "level": level, "message": redacted(message), **further})


def log_to(stream: TextIO, *, as_json: bool = False) -> None:
    """Send our own records to a stream, and of libraries what is a warning or worse.

    Args:
        stream: where to.
        as_json: one object a line, warnings of Python and of libraries among them.
    """
    logger = logging.getLogger(NAME)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        JsonFormatter() if as_json else PlainFormatter("%(asctime)s %(levelname)s %(message)s")
    )
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.captureWarnings(as_json)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(
            JsonFormatter() if as_json else PlainFormatter("%(message)s")
        )


def logs_are_json() -> bool:
    """Whether our records go to a log that is JSON."""
    handlers = logging.getLogger(NAME).handlers
    return any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)
