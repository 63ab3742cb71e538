"""HTTP to an engine: with patience where it is busy, and an error that says what it answered.

Every request of a feed may be sent twice: operations carry ids, and what is made is removed first.
So an answer that was lost is asked for again, as is one that says that the engine is busy. Proxies,
netrc and cookies are not used, redirects are not followed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from pydantic import Field, field_validator
from urllib3.util import Retry, Timeout

from pipeline.config import Settings
from pipeline.errors import ConfigurationError, FeedError
from pipeline.outputs.feeds.support.requests import JSON, Request

#: An engine that is busy, or behind a gateway that is: 429 is what Elasticsearch, OpenSearch, Vespa
#: and Solr answer where a queue of theirs is full.
BUSY: Final = frozenset({429, 502, 503, 504})

#: Longest wait before a request is sent again, in seconds.
LONGEST_WAIT_S: Final = 60.0

_QUOTED: Final = 500


class HttpSettings(Settings):
    """Where an engine answers, and who asks it."""

    url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="The engine's HTTP address, such as `https://search:9200`: files are sent "
        "there as they are written. null: they are only written, and somebody else loads them.",
    )
    authorization_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the value of the header "
        "`Authorization`, such as `ApiKey ...`, `Basic ...` or `Bearer ...`.",
    )
    ca_file: str | None = Field(
        None, description="PEM file of the authorities that may sign the engine's certificate."
    )
    certificate_file: str | None = Field(
        None, description="PEM file of a client certificate and its key, where the engine asks."
    )
    connections: int = Field(4, ge=1, description="Requests that are sent at once, at most.")
    timeout_s: float = Field(120.0, gt=0, description="Seconds that one answer may take.")
    attempts: int = Field(
        8,
        ge=1,
        description="How often a request is sent at most, where the engine is busy or gone.",
    )
    backoff_s: float = Field(
        0.5, ge=0, description="Seconds before the second attempt; doubles, up to 60."
    )

    @field_validator("url")
    @classmethod
    def _without_slash(cls, url: str | None) -> str | None:
        return url if url is None else url.rstrip("/")


@dataclass(frozen=True)
class Answer:
    """What an engine answered.

    Attributes:
        status: of HTTP.
        body: JSON; None where it is none.
    """

    status: int
    body: Any


class Client:
    """Connections to one engine."""

    def __init__(self, settings: HttpSettings, *, feed: str) -> None:
        """Read the secret; no connection is opened yet.

        Args:
            settings: with an ``url``.
            feed: its name, for errors.

        Raises:
            ConfigurationError: the environment lacks the secret, or a PEM file cannot be read.
        """
        self.settings = settings
        self._feed = feed
        self._headers = {"User-Agent": "rerank-pipeline", "Accept": JSON} | self._secret()
        try:
            self._pool = urllib3.PoolManager(
                num_pools=1,
                maxsize=settings.connections,
                block=True,
                timeout=Timeout(total=settings.timeout_s),
                ca_certs=settings.ca_file,
                cert_file=settings.certificate_file,
            )
        except OSError as error:
            raise ConfigurationError(
                f"feeds.{feed}: ca_file or certificate_file: {error}"
            ) from None

    def ask(self, request: Request) -> Answer:
        """Send one request that a manifest holds.

        Raises:
            FeedError: see :meth:`send`.
        """
        body = None if request.body is None else json.dumps(request.body).encode()
        return self.send(request.method, request.path, body, accept=request.accept)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = JSON,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """Send one request, again and again where the engine is busy or does not answer.

        Args:
            method: of HTTP.
            path: below the URL, with its query, percent-encoded.
            body: what is sent.
            content_type: of the body.
            accept: status codes beside 2xx that are no failure.

        Raises:
            FeedError: there was no answer, or one that is a failure; quotes it.
        """
        headers: Mapping[str, str] = self._headers
        if body is not None:
            headers = {**headers, "Content-Type": content_type}
        try:
            found = self._pool.request(
                method, f"{self.settings.url}{path}", body=body, headers=headers,
                retries=self._retries(), redirect=False,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._error(method, path, f"no answer: {error}") from error
        if not 200 <= found.status < 300 and found.status not in accept:
            raise self._error(method, path, _told(found.status, found.data), found.status)
        return Answer(found.status, _parsed(found.data))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _secret(self) -> dict[str, str]:
        name = self.settings.authorization_env
        if name is None:
            return {}
        value = os.environ.get(name, "").strip()
        if not value:
            raise ConfigurationError(
                f"feeds.{self._feed}.authorization_env: the environment variable {name} is not "
                "set; it must hold the value of the header Authorization"
            )
        return {"Authorization": value}

    def _retries(self) -> Retry:
        return Retry(
            total=self.settings.attempts - 1,
            status_forcelist=BUSY,
            allowed_methods=None,  # any: see above
            backoff_factor=self.settings.backoff_s,
            backoff_max=LONGEST_WAIT_S,
            backoff_jitter=self.settings.backoff_s,
            retry_after_max=int(LONGEST_WAIT_S),
            raise_on_status=False,
        )

    def _error(self, method: str, path: str, why: str, status: int | None = None) -> RefusedError:
        hint = {
            401: "; set authorization_env",
            403: "; the user may not do that",
            413: "; lower max_bytes",
            429: "; the engine was busy all the time: raise attempts, or lower connections",
        }.get(status or 0, "")
        return RefusedError(
            f"feed '{self._feed}': {method} {self.settings.url}{path}: {why}{hint}", status
        )


class RefusedError(FeedError):
    """An engine refused a request, or did not answer.

    Attributes:
        status: of HTTP; None: no answer.
    """

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def _told(status: int, data: bytes) -> str:
    text = " ".join(data[: 4 * _QUOTED].decode("utf-8", "replace").split())
    return f"status {status}: {text[:_QUOTED] or 'without a body'}"


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
