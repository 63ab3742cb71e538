"""What commands print: text as it is, without markup, secrets, or what acts on a terminal."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pipeline.plain_text import redacted, visible

#: Characters that rich itself puts between the parts of a table.
_LAYOUT = "\n"


class Terminal(Console):
    """A console on which square brackets, colons and escape sequences are characters like others.

    Args:
        stderr: print to standard error.
        width: columns; None for those of the terminal.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(
            stderr=stderr, width=width, soft_wrap=True, markup=False, emoji=False, highlight=False
        )

    def say(self, text: str = "") -> None:
        """Print one line; line breaks in it are shown as escapes."""
        self.print(self.encodable(visible(redacted(text))))

    def on_broken_pipe(self) -> None:
        """Tell the caller, where rich would leave the process with code 1."""
        raise BrokenPipeError(errno.EPIPE, "its reader has gone")

    def render_str(self, text: str, *arguments: Any, **options: Any) -> Text:
        """Plain text of a cell or title; rich itself would drop some control characters."""
        # As it will be printed, so that columns are as wide as that.
        shown = self.encodable(visible(text, keep=_LAYOUT))
        return super().render_str(shown, *arguments, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does, with what cells of tables hold made harmless."""
        for segment in super().render(renderable, options):
            if segment.control or _harmless(segment.text):
                yield segment
            else:
                shown = visible(redacted(segment.text), keep=_LAYOUT)
                yield Segment(self.encodable(shown), segment.style)

    def encodable(self, text: str) -> str:
        """``text`` with escapes for what the stream's encoding does not have."""
        encoding = getattr(self.file, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


_PLAIN = re.compile(r"[ -\x2f\x31-\x39\x3b-~\n0]*")


def _harmless(text: str) -> bool:
    """Whether there is nothing to look for: printable ASCII without a colon or equals sign."""
    return _PLAIN.fullmatch(text) is not None and "=" not in text
