from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import StorageConfig
from pipeline.storage.policy import LONGEST_PAUSE_S, pause
from pipeline.storage.s3.faults import Fault, classify

URL = "https://store.example"


@given(st.floats(0.001, 60), st.integers(1, 2_000))
def test_pauses_double_up_to_a_limit_and_half_of_them_is_chance(
    backoff_s: float, failures: int
) -> None:
    full = min(LONGEST_PAUSE_S, backoff_s * 2.0 ** min(failures - 1, 40))
    assert full / 2 <= pause(backoff_s, failures) <= full


def test_pauses_differ() -> None:
    assert len({pause(0.2, 3) for _ in range(50)}) > 40


def test_defaults_survive_a_store_that_fails_one_time_in_twenty() -> None:
    policy = StorageConfig()
    assert policy.attempts >= 10
    assert 0.05**policy.attempts * 100_000 < 1e-6
    assert 2 * policy.stall_s <= 60


def answer(status: int, code: str) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (answer(503, "SlowDown"), Fault.THROTTLED),
        (answer(503, "ServiceUnavailable"), Fault.THROTTLED),
        (answer(429, "TooManyRequests"), Fault.THROTTLED),
        (answer(400, "RequestLimitExceeded"), Fault.THROTTLED),
        (answer(500, "InternalError"), Fault.SERVER),
        (answer(200, "InternalError"), Fault.SERVER),
        (answer(502, "502"), Fault.SERVER),
        (answer(400, "RequestTimeout"), Fault.SERVER),
        (answer(409, "ConditionalRequestConflict"), Fault.CONFLICT),
        (answer(409, "OperationAborted"), Fault.CONFLICT),
        (answer(412, "PreconditionFailed"), Fault.PRECONDITION),
        (answer(412, "412"), Fault.PRECONDITION),
        (answer(404, "NoSuchKey"), Fault.ABSENT),
        (answer(400, "ExpiredToken"), Fault.EXPIRED),
        (answer(403, "ExpiredTokenException"), Fault.EXPIRED),
        (answer(403, "RequestExpired"), Fault.EXPIRED),
        (answer(403, "AccessDenied"), Fault.DENIED),
        (answer(403, "403"), Fault.DENIED),
        (answer(401, "Unauthorized"), Fault.DENIED),
        (answer(400, "BadDigest"), Fault.DAMAGED),
        (answer(400, "InvalidBucketName"), Fault.OTHER),
        (answer(416, "InvalidRange"), Fault.OTHER),
        (NoCredentialsError(), Fault.DENIED),
        (ReadTimeoutError(endpoint_url=URL), Fault.STALLED),
        (ConnectionClosedError(endpoint_url=URL), Fault.CONNECTION),
        (EndpointConnectionError(endpoint_url=URL), Fault.CONNECTION),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), Fault.CONNECTION),
        (SSLError(endpoint_url=URL, error="EOF occurred"), Fault.CONNECTION),
        (SSLError(endpoint_url=URL, error="CERTIFICATE_VERIFY_FAILED"), Fault.OTHER),
        (ResponseParserError("no XML"), Fault.SERVER),
        (ConnectionResetError(), Fault.CONNECTION),
        (TimeoutError(), Fault.STALLED),
        (ParamValidationError(report="bad"), Fault.OTHER),
        (ValueError(), Fault.OTHER),
    ],
    ids=str,
)
def test_failures_are_told_apart(error: Exception, fault: Fault) -> None:
    assert classify(error) is fault
