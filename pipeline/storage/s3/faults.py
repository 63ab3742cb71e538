"""What an S3 request ran into, and whether sending it again can help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NoReturn

from aiohttp import ClientError as HttpError
from botocore import exceptions as boto
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
RETRIED = {fault: Event[fault.name] for fault in Fault if fault.name in Event.__members__}

_BY_CODE = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "InvalidToken"), Fault.EXPIRED),
    **dict.fromkeys(("RequestExpired", "TokenRefreshRequired"), Fault.EXPIRED),
    **dict.fromkeys(("SlowDown", "Throttling", "ThrottlingException"), Fault.THROTTLED),
    "RequestLimitExceeded": Fault.THROTTLED,
    "RequestTimeout": Fault.SERVER,
    # 400s that the network made: what arrived was not what was sent.
    **dict.fromkeys(("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"), Fault.DAMAGED),
}
_BY_STATUS = {
    **{200: Fault.SERVER, 401: Fault.DENIED, 403: Fault.DENIED, 404: Fault.ABSENT},
    **{409: Fault.CONFLICT, 412: Fault.PRECONDITION, 429: Fault.THROTTLED, 503: Fault.THROTTLED},
}


class StalledError(Exception):
    """A transfer moved less than the floor."""


class DamagedError(Exception):
    """Bytes arrived that do not fit their checksum."""


class MalformedError(Exception):
    """An answer that says that all is well and lacks what every such answer has."""


class ContradictionError(Exception):
    """The store denied a condition that, by its own account, holds."""


def answered(error: Exception) -> tuple[int, str]:
    """HTTP status and the store's own code; 0 and nothing where ``error`` is not an answer."""
    answer = error.response if isinstance(error, boto.ClientError) else {}
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(answer.get("Error", {}).get("Code", ""))


#: What every answer to an operation has: without it, an empty page of a proxy would be an empty
#: folder, or its login page an object.
_ALWAYS = {
    "head_object": ("ETag", "ContentLength"),
    "get_object": ("ETag", "ContentLength"),
    "put_object": ("ETag",),
    "list_objects_v2": ("IsTruncated",),
    "list_multipart_uploads": ("IsTruncated",),
}


def refuse_malformed(operation: str, answer: Mapping[str, Any]) -> None:
    """Compare an answer with what the protocol promises of it.

    Raises:
        MalformedError: something is missing, so it is not the store's.
    """
    missing = [name for name in _ALWAYS.get(operation, ()) if name not in answer]
    if answer.get("IsTruncated") and operation == "list_objects_v2":
        missing += [] if answer.get("NextContinuationToken") else ["NextContinuationToken"]
    if missing:
        raise MalformedError(
            f"the answer to {operation} has no {' and no '.join(missing)}, so it is not that of an "
            "object store; see what answers at the endpoint (AWS_ENDPOINT_URL), a proxy perhaps"
        )


def is_absent(error: Exception) -> bool:
    """Whether the store says that there is no such object; a missing bucket is a mistake."""
    return classify(error) is Fault.ABSENT and answered(error)[1] != "NoSuchBucket"


def classify(error: Exception) -> Fault:
    """What kind of failure an exception of the client is."""
    match error:
        case StalledError():
            return Fault.STALLED
        case DamagedError():
            return Fault.DAMAGED
        case ContradictionError():
            return Fault.CONFLICT
        case MalformedError():
            return Fault.SERVER
        case boto.ClientError():
            status, code = answered(error)
            other = Fault.SERVER if status >= 500 else Fault.OTHER
            return _BY_CODE.get(code, _BY_STATUS.get(status, other))
        case boto.NoCredentialsError() | boto.PartialCredentialsError():
            return Fault.DENIED
        case boto.CredentialRetrievalError() | boto.TokenRetrievalError():
            return Fault.EXPIRED
        case boto.SSLError() if "certificate" in str(error).lower():
            return Fault.OTHER
        case ResponseParserError():
            return Fault.SERVER
        case boto.ReadTimeoutError() | boto.ConnectTimeoutError() | TimeoutError():
            return Fault.STALLED
    broken = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError)
    return Fault.CONNECTION if isinstance(error, (*broken, HttpError, OSError)) else Fault.OTHER


class Attempts:
    """The attempts of one request; ``client`` is what the last of them was sent with."""

    def __init__(self, path: str, verb: str) -> None:
        self.client: Any = None
        self._path, self._verb = path, verb
        self._policy, self._start = retry_policy(), time.monotonic()
        self._failures, self._refreshed = 0, False

    async def wait(self, error: Exception) -> bool:
        """Wait for the next attempt; whether it needs other credentials, for these have expired.

        Raises:
            AccessDeniedError, NotFoundError, StorageError: there is no next attempt.
        """
        fault = classify(error)
        if fault is Fault.EXPIRED and not self._refreshed:
            self._refreshed = True
            count(Event.REFRESHED)
            return True
        if fault not in RETRIED:
            self._give_up(error, fault)
        self._failures += 1
        elapsed = time.monotonic() - self._start
        if self._failures >= self._policy.attempts or elapsed > self._policy.give_up_s:
            raise StorageError(
                f"{self._path}: could not be {self._verb} in {self._failures} attempts and "
                f"{elapsed:.0f} s; the last one: {describe(error)}; when the store answers again, "
                "the same command goes on where this one stopped"
            ) from error
        count(RETRIED[fault])
        await asyncio.sleep(pause(self._policy.backoff_s, self._failures))
        return False

    def _give_up(self, error: Exception, fault: Fault) -> NoReturn:
        reason = describe(error)
        match fault:
            case Fault.EXPIRED:
                raise AccessDeniedError(
                    f"{self._path}: the credentials have expired ({reason}), and reading them "
                    "again gave no valid ones; renew them and run the same command again"
                ) from error
            case Fault.DENIED:
                advice = _advice(answered(error)[1])
                raise AccessDeniedError(
                    f"{self._path}: may not be {self._verb} ({reason}); {advice}"
                ) from error
            case Fault.ABSENT:
                raise NotFoundError(
                    f"{self._path}: {reason}; check the name, and that the bucket is in the region "
                    "and at the endpoint of the environment"
                ) from error
        raise StorageError(f"{self._path}: could not be {self._verb}: {reason}") from error


def describe(error: Exception) -> str:
    """One line about a failure, without the address and headers of the request."""
    if isinstance(error, boto.ClientError):
        status, code = answered(error)
        words = dict.fromkeys((str(status), code, error.response.get("Error", {}).get("Message")))
        return " ".join(filter(None, words))
    if isinstance(error, boto.BotoCoreError | HttpError | OSError) and not str(error):
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
