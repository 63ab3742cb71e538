"""Every storage test begins with the same policy, with pauses that a test can wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import StorageConfig
from pipeline.storage.policy import retry_policy, set_retry_policy
from tests.support.s3_server import S3Server


@pytest.fixture(autouse=True)
def quick_policy() -> Iterator[StorageConfig]:
    before = retry_policy()
    policy = StorageConfig(backoff_s=0.01)
    set_retry_policy(policy)
    yield policy
    set_retry_policy(before)


@pytest.fixture
def rotate(
    s3_server: S3Server, s3_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Have keys in a file that somebody else renews, as a role's are; called with an access key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(access_key: str) -> None:
        secret = f"aws_secret_access_key={s3_server.secret_key}"
        file.write_text("\n".join(("[default]", f"aws_access_key_id={access_key}", secret)))

    return write
