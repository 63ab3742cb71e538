"""Secrets do not leave the program, and nothing that is shown acts on a terminal."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import NotFoundError
from pipeline.plain_text import holds_credentials, redacted, visible, without_colours

SECRET = "hunter22/Zq+9"

WITH_CREDENTIALS = [
    f"s3://AKIDEXAMPLE:{SECRET}@bucket/key",
    f"s3a://:{SECRET}@bucket",
    f"S3://AKID:{SECRET}@bucket",
    "s3://AKID%3Ahunter22%2FZq@bucket/key",
    f"s3://AKID:{SECRET}@x@bucket/key",
    "https://user:hunter22@host:8080/path?x=1",
    "https://hunter22@host/path",
    "sftp://user:hunter22@host/path",
    "simplecache::s3://AKID:hunter22@bucket/key",
    "s3://bucket/key?X-Amz-Credential=hunter22&X-Amz-Signature=hunter22",
    "s3://bucket/key?X-Amz-Security-Token=hunter22",
    "s3://bucket/key?X%2DAmz%2DSignature=hunter22",
    "https://host/key?AWSAccessKeyId=hunter22&Signature=hunter22&Expires=1",
    "https://account.blob.core.windows.net/c/b?sv=2020&sig=hunter22",
    "https://storage.googleapis.com/b/o?X-Goog-Signature=hunter22",
    "gs://bucket/key?access_token=hunter22#part",
    "https://host/key?api_key=hunter22",
    "https://host/key#access_token=hunter22",
    "redis://:hunter22@feed:6379/0",
    "postgresql://db/rankings?user=me&password=hunter22",
]
TOKENS = [
    f"hf_hunter22{'a' * 26}",
    f"ghp_hunter22{'a' * 28}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter22",
    "-----BEGIN PRIVATE KEY-----\nhunter22\n-----END PRIVATE KEY-----",
    "host=db user=me password=hunter22",
    "AccountKey=hunter22",
    "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=hunter22",
    "Endpoint=sb://bus.example.com/;SharedAccessKey=hunter22",
]
WITHOUT = [
    "s3://bucket/a@b",
    "s3://bucket/a:b@c/d",
    "s3://bucket/part-?.parquet",
    "s3://bucket/part-?.parquet?versionId=3",
    "s3://bucket/tokens=3/part.parquet",
    "s3://bucket",
    "https://host:8080/path@x",
    "http://127.0.0.1:8265",
    "http://[::1]:8265/x@y",
    "abfs://container@account.dfs.core.windows.net/path",
    "sftp://user@host/path",
    "hdfs://user@namenode:9000/x",
    "/data/user:hunter22@host/x",
    "C:/x@y",
    "owner/name",
    "memory://x",
    "hf_internal_testing/tiny_random_bert_for_sequence_classification",
    "is it a password? = yes",
]


@pytest.mark.parametrize("uri", WITH_CREDENTIALS)
def test_credentials_are_found_and_taken_out(uri: str) -> None:
    assert holds_credentials(uri)
    for text in (uri, f"no such file: '{uri}' (404)", f"{uri}, {uri}\n{uri}"):
        shown = redacted(text, environment={})
        assert "hunter22" not in shown
        assert "***" in shown
    assert "hunter22" not in str(NotFoundError(f"{uri}: not there"))


def test_every_uri_of_a_text_counts_and_keys_of_objects_are_no_parameters() -> None:
    assert holds_credentials("abfs://container@account/x,s3://AKID:hunter22@bucket")
    assert not holds_credentials("s3://bucket/a&token=3;token=4/part.parquet")


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_are_known_by_their_shape(token: str) -> None:
    assert holds_credentials(token)
    shown = redacted(f"refused: {token} (401)", environment={})
    assert "hunter22" not in shown
    assert shown.startswith("refused: ")
    assert shown.endswith(" (401)")


@pytest.mark.parametrize("uri", WITHOUT)
def test_what_holds_none_stays_as_it_is(uri: str) -> None:
    assert not holds_credentials(uri)
    text = f"no such file: '{uri}' ({uri}), 3 tokens/s, set RAY_AUTH_MODE=token"
    assert redacted(text, environment={}) == text


WORDS = st.text(string.ascii_letters + string.digits + "-._~+/%=!$'()*,", min_size=6, max_size=24)
NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=10)


@given(
    user=NAMES, secret=WORDS, bucket=NAMES, scheme=st.sampled_from(["s3", "gs", "https", "sftp"])
)
def test_no_user_secret_is_shown(user: str, secret: str, bucket: str, scheme: str) -> None:
    secret = f"x{secret}"  # digits up to a slash would be a port
    uri = f"{scheme}://{user}:{secret}@{bucket}/path/of/a@file"
    assert holds_credentials(uri)
    shown = redacted(f"cannot open {uri} now", environment={})
    assert secret not in shown.replace("cannot open", "")
    assert shown.endswith(f"@{bucket}/path/of/a@file now")


@given(
    secret=st.text(string.ascii_letters + string.digits + "-._~+/%", min_size=6),
    name=st.sampled_from(["sig", "X-Amz-Signature", "token", "Signature", "AWSAccessKeyId", "pwd"]),
    before=st.sampled_from(["", "x=1&", "sv=2020-01-01&se=1&"]),
)
def test_no_signature_is_shown(secret: str, name: str, before: str) -> None:
    secret = f"zz{secret}"
    uri = f"https://host/key?{before}{name}={secret}&last=1"
    assert holds_credentials(uri)
    shown = redacted(f"GET {uri} failed", environment={})
    assert secret not in shown
    assert shown.endswith("&last=1 failed")


def test_secrets_of_the_environment_are_taken_out_wherever_they_stand() -> None:
    environment = {
        "AWS_SECRET_ACCESS_KEY": "hunter22hunter22",
        "RAY_AUTH_TOKEN_PATH": "/home/me/.ray/token",
        "MY_PASSWORD": "short",
        "HOME": "/home/hunter",
    }
    text = "signed with hunter22hunter22, see /home/me/.ray/token in /home/hunter, short"
    assert redacted(text, environment=environment) == text.replace("hunter22hunter22", "***")


def test_secrets_are_taken_out_in_each_form_and_the_longest_first() -> None:
    environment = {
        "FEED_URL": "redis://:hunter22@feed:6379/0",
        "STORE_URL": "https://host:8080/not-secret",
        "AWS_SECRET_ACCESS_KEY": "hunter22/Zq+9=",
        "DB": "postgresql://me:p%40ss%2Fword@db/x",
    }
    text = "hunter22/Zq+9= hunter22%2FZq%2B9%3D hunter22 p@ss/word p%40ss%2Fword me host:8080"
    assert redacted(text, environment=environment) == "*** *** *** *** *** me host:8080"


@pytest.mark.parametrize(
    "text",
    [
        "{'aws_secret_access_key': 'hunter22', 'x': 1}",
        "Authorization: Bearer hunter22.abc",
        '{"password": "hunter22"}',
        "aws_session_token=hunter22",
        "Proxy-Authorization: Basic hunter22",
        "token hf_hunter22hunter22hunter22",
    ],
)
def test_assigned_secrets_are_taken_out(text: str) -> None:
    assert "hunter22" not in redacted(text, environment={})


@pytest.mark.parametrize("name", ["passwd", "password", "api_key", "secret_key", "private_key"])
def test_what_is_said_of_a_file_is_no_secret(name: str) -> None:
    text = f"/etc/{name}: no such file"
    assert redacted(text, environment={}) == text
    for assigned in (f"/etc/{name}=hunter22", f"/x {name}: hunter22", f"'/x/{name}':'hunter22'"):
        assert "hunter22" not in redacted(assigned, environment={})


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_visible_acts_on_a_terminal(text: str) -> None:
    shown = visible(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [c for c in shown if unicodedata.bidirectional(c) in _DIRECTIONS]
    assert visible(shown) == shown
    shown.encode("utf-8")
    assert visible(text, keep="\n").count("\n") == text.count("\n")


_DIRECTIONS = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")


def test_characters_are_shown_as_escapes_and_others_as_they_are() -> None:
    assert visible("a\x1b[31m\r\n\t\x9b\u202e\ud800b") == "a\\x1b[31m\\r\\n\\t\\x9b\\u202e\\ud800b"
    assert visible("粗い紙 é 😀 [red] \\n") == "粗い紙 é 😀 [red] \\n"
    assert without_colours("\x1b[36m(pid=1)\x1b[0m done") == "(pid=1) done"
