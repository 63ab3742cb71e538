"""An S3 server that tests talk to, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where it listens, who may come in, and what it can show.

    Attributes:
        name: product and version, for the test report.
        url: endpoint.
        access_key: of the one user, who may do everything.
        secret_key: of the same.
        checks_keys: whether it refuses everybody else.
        checks_content: whether it refuses content that does not fit its Content-MD5.
        overload: makes it answer 503 SlowDown to nearly every burst; None where it cannot.
    """

    name: str
    url: str
    access_key: str
    secret_key: str
    checks_keys: bool
    checks_content: bool
    overload: Callable[[], AbstractContextManager[None]] | None = None

    @property
    def credentials(self) -> tuple[str, str]:
        """Access and secret key."""
        return self.access_key, self.secret_key

    @property
    def can_be_busy(self) -> bool:
        """Whether :meth:`busy` changes anything."""
        return self.overload is not None

    def busy(self) -> AbstractContextManager[None]:
        """While it lasts, the server takes two requests at a time and sends the others away."""
        return self.overload() if self.overload else nullcontext()

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Variables for a process that talks to it, or to a proxy in front of it."""
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            # The user's own profiles and roles have no business in a test.
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
