"""What an S3 request ran into, and whether sending it again can help."""

from __future__ import annotations

import time
from enum import Enum, auto
from typing import NoReturn

from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from pipeline.errors import AccessDeniedError, NotFoundError, StorageError
from pipeline.storage.counters import Event, count
from pipeline.storage.policy import pause, retry_policy


class Fault(Enum):
    """Kinds of failure, by what has to be done about them."""

    THROTTLED = auto()
    SERVER = auto()
    CONNECTION = auto()
    STALLED = auto()
    CONFLICT = auto()
    DAMAGED = auto()
    EXPIRED = auto()
    DENIED = auto()
    ABSENT = auto()
    PRECONDITION = auto()
    OTHER = auto()


#: Faults after which the same request is sent again, and what each is counted as.
RETRIED = {
    Fault.THROTTLED: Event.THROTTLED,
    Fault.SERVER: Event.SERVER,
    Fault.CONNECTION: Event.CONNECTION,
    Fault.STALLED: Event.STALLED,
    Fault.CONFLICT: Event.CONFLICT,
    Fault.DAMAGED: Event.DAMAGED,
}

_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "RequestExpired",
    "TokenRefreshRequired",
}
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
# 400s that the network made: what arrived was not what was sent.
_DAMAGED = {"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"}


_CONNECTION = (NoConnectionError, HTTPClientError, IncompleteReadError, HttpError, OSError)


class StalledError(Exception):
    """A transfer moved less than the floor."""


class DamagedError(Exception):
    """Bytes arrived that do not fit their checksum."""


class ContradictionError(Exception):
    """The store denied a condition that, by its own account, holds."""


def status_of(error: Exception) -> int:
    """HTTP status of the answer that ``error`` stands for; 0 where there was none."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: Exception) -> str:
    """The store's own code of the error; for a HEAD, whose answer has no body, the status."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: Exception) -> bool:
    """Whether the store says that there is no such object; a missing bucket is a mistake."""
    return classify(error) is Fault.ABSENT and code_of(error) != "NoSuchBucket"


def classify(error: Exception) -> Fault:
    """What kind of failure an exception of the client is."""
    match error:
        case StalledError():
            return Fault.STALLED
        case DamagedError():
            return Fault.DAMAGED
        case ContradictionError():
            return Fault.CONFLICT
        case ClientError():
            return _classify_answer(status_of(error), code_of(error))
        case NoCredentialsError() | PartialCredentialsError():
            return Fault.DENIED
        case CredentialRetrievalError() | TokenRetrievalError():
            return Fault.EXPIRED
        case SSLError() if "certificate" in str(error).lower():
            return Fault.OTHER
        case ResponseParserError():
            return Fault.SERVER
        case ReadTimeoutError() | ConnectTimeoutError() | TimeoutError():
            return Fault.STALLED
    return Fault.CONNECTION if isinstance(error, _CONNECTION) else Fault.OTHER


def _classify_answer(status: int, code: str) -> Fault:
    if code in _EXPIRED:
        return Fault.EXPIRED
    if code in _DAMAGED:
        return Fault.DAMAGED
    if code in _THROTTLED or status in (429, 503):
        return Fault.THROTTLED
    if code == "RequestTimeout" or status >= 500 or status == 200:
        return Fault.SERVER
    by_status = {
        401: Fault.DENIED,
        403: Fault.DENIED,
        404: Fault.ABSENT,
        409: Fault.CONFLICT,
        412: Fault.PRECONDITION,
    }
    return by_status.get(status, Fault.OTHER)


class Attempts:
    """The attempts of one request: waits before the next one, or says why there is none."""

    def __init__(self, path: str, verb: str) -> None:
        self._path = path
        self._verb = verb
        self._policy = retry_policy()
        self._start = time.monotonic()
        self._failures = 0
        self._refreshed = False

    def failed(self, error: Exception) -> Fault:
        """Wait for the next attempt.

        Returns:
            EXPIRED where the caller must read the credentials again before it goes on; else the
            fault that was waited for.

        Raises:
            AccessDeniedError, NotFoundError, StorageError: there is no next attempt.
        """
        fault = classify(error)
        if fault is Fault.EXPIRED and not self._refreshed:
            self._refreshed = True
            count(Event.REFRESHED)
            return fault
        if fault not in RETRIED:
            self.give_up(error)
        self._failures += 1
        elapsed = time.monotonic() - self._start
        if self._failures >= self._policy.attempts or elapsed > self._policy.give_up_s:
            raise StorageError(
                f"{self._path}: could not be {self._verb} in {self._failures} attempts and "
                f"{elapsed:.0f} s; the last one: {describe(error)}; when the store answers again, "
                "the same command goes on where this one stopped"
            ) from error
        count(RETRIED[fault])
        time.sleep(pause(self._policy.backoff_s, self._failures))
        return fault

    def give_up(self, error: Exception) -> NoReturn:
        """Raise what a failure that is not worth a second attempt means to the user."""
        reason = describe(error)
        match classify(error):
            case Fault.EXPIRED:
                raise AccessDeniedError(
                    f"{self._path}: the credentials have expired ({reason}), and reading them "
                    "again gave no valid ones; renew them and run the same command again"
                ) from error
            case Fault.DENIED:
                raise AccessDeniedError(
                    f"{self._path}: may not be {self._verb} ({reason}); {_advice(code_of(error))}"
                ) from error
            case Fault.ABSENT:
                raise NotFoundError(
                    f"{self._path}: {reason}; check the name, and that the bucket is in the region "
                    "and at the endpoint of the environment"
                ) from error
        raise StorageError(f"{self._path}: could not be {self._verb}: {reason}") from error


def describe(error: Exception) -> str:
    """One line about a failure, without the address and headers of the request."""
    if isinstance(error, ClientError):
        message = error.response.get("Error", {}).get("Message", "")
        words = dict.fromkeys((str(status_of(error)), code_of(error), message))
        return " ".join(filter(None, words))
    if isinstance(error, BotoCoreError | HttpError | OSError) and not str(error):
        return type(error).__name__
    return str(error).split("\n")[0]


def _advice(code: str) -> str:
    if code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong: set it"
    if code in ("SignatureDoesNotMatch", "InvalidAccessKeyId"):
        return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile they come from"
    return (
        "check the credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, the role of the "
        "machine) and what they allow: get, put, delete and list below this path"
    )
