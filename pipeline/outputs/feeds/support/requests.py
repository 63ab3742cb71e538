"""What is asked of an engine beside its documents: written into manifests, and sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

JSON: Final = "application/json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        method: of HTTP.
        path: below the engine's URL, with its query.
        why: what it is for, for people.
        body: JSON; None: no body.
        accept: status codes beside 2xx after which one goes on, such as 404 of a removal.
    """

    method: str
    path: str
    why: str
    body: Any = None
    accept: tuple[int, ...] = ()

    def described(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        about: dict[str, Any] = {"method": self.method, "path": self.path, "why": self.why}
        if self.body is not None:
            about["body"] = self.body
        if self.accept:
            about["accept"] = list(self.accept)
        return about
