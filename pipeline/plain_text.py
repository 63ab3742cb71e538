"""Text that leaves the program: no secret in it, and no character that does something.

What people are shown or what is kept for them (standard error, logs, tracebacks, reports) holds
data from outside: paths, ids, names, messages of libraries and stores. :func:`redacted` takes
credentials out of it, :func:`visible` shows control characters instead of sending them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

#: What stands for a secret.
HIDDEN: Final = "***"

#: Names of query parameters, settings and variables whose value is a secret. AWS, Google and Azure
#: sign URLs with X-Amz-Signature, X-Goog-Signature and sig.
_SECRET_NAME: Final = re.compile(
    r"[\w.\-]*(?:signature|secret|token|passw(?:or)?d|credentials?|access_?key(?:_?id)?|"
    r"account_?key|api_?key|private_?key|authorization)|sig|pwd",
    re.IGNORECASE,
)

#: A user part alone names a person or a container for these; for the others it is a credential.
_PLAIN_USERS: Final = frozenset(
    {"abfs", "abfss", "wasb", "wasbs", "hdfs", "ssh", "sftp", "scp", "git+ssh", "ftp", "file"}
)

#: Scheme, and everything up to the @ that ends the credentials. A colon before any slash that no
#: port number follows belongs to a user, so a secret with slashes in it is found as well.
_USER: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://"
    r"(?P<user>[^\s/?#@:\[]*:(?!\d{1,5}(?:[/?#'\"\s]|$))[^\s]*?@(?=[^@/\s]*(?:[/?#:'\"\s]|$))"
    r"|[^\s/?#]*@)"
)
_PARAMETER: Final = re.compile(r"(?P<name>[?&;#][\w.%\-]+)=(?P<value>[^\s&;#'\"<>]+)")
#: After a path (/etc/passwd: no such file) a colon and a space begin what is said of it.
_ASSIGNED: Final = re.compile(
    r"(?P<name>(?!(?<=/)\w+: )\b(?:aws_secret_access_key|aws_session_token|secret_access_key|"
    r"secret_key|"
    r"session_token|auth_token|access_token|api_key|account_?key|password|passwd|"
    r"shared_?access_?(?:key|signature)|"
    r"client_secret|private_key|(?:proxy-)?authorization|x-amz-security-token)"
    r"['\"]?\s*[:=]\s*(?:bearer\s+|basic\s+)?['\"]?)(?P<value>[^\s'\",;)}\]]+)",
    re.IGNORECASE,
)
#: Tokens that show by themselves what they are: of the hub, of GitHub, of Google, JSON Web Tokens
#: (RFC 7519), private keys as PEM (RFC 7468).
_TOKEN: Final = (
    r"\bhf_[A-Za-z0-9]{34}\b|\bgh[oprsu]_[A-Za-z0-9]{36}|\bgithub_pat_\w{50,}|"
    r"\bya29\.[\w\-]{20,}|\bAIza[\w\-]{35}|\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*)"
)
_TOKENS: Final = re.compile(_TOKEN, re.DOTALL)
_KNOWN_SHAPES: Final = re.compile(
    rf"{_TOKEN}|\bhf_[A-Za-z0-9]{{20,}}|\b(?<=Bearer )[A-Za-z0-9._~+/\-]{{8,}}=*", re.DOTALL
)
#: libpq's other way to name a database, ``host=db user=me password=secret``, and what Azure calls a
#: connection string, ``AccountName=me;AccountKey=secret``.
_KEYWORDS: Final = re.compile(
    r"(?:^|[\s;])(?:(?:ssl)?passw(?:or)?d|accountkey|sharedaccess(?:key|signature))\s*=\s*\S",
    re.IGNORECASE,
)

#: Variables of the environment that hold secrets, and those that only say where one lies.
_SECRET_VARIABLE: Final = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|ACCOUNT_KEY|STORAGE_KEY|"
    r"PRIVATE_KEY|CONNECTION_STRING|REDISCLI_AUTH",
    re.IGNORECASE,
)
_PLACE_VARIABLE: Final = re.compile(r"_(?:PATH|FILE|DIR|URI|MODE|PARALLELISM)$", re.IGNORECASE)
_SHORTEST_SECRET: Final = 8

#: Controls of terminals (C0, C1, DEL), line and paragraph separators, marks that turn or hide text
#: (bidirectional overrides, zero width, tags), and halves of surrogate pairs.
_ACTIVE: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff"
    "\\ufff9-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e0fff]"
)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with every character that would act on a terminal written as an escape.

    Args:
        text: what is shown.
        keep: characters that stay as they are, such as line breaks of a text of several lines.
    """
    return _ACTIVE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def without_colours(text: str) -> str:
    """``text`` without the escape sequences by which other programs colour their output."""
    return _COLOURS.sub("", text)


def redacted(text: str, *, environment: Mapping[str, str] = os.environ) -> str:
    """``text`` with ``***`` in place of credentials: in URIs, signed URLs, assignments.

    Args:
        text: anything that people are shown.
        environment: values of its secret variables, and passwords of URIs in any of them, are
            taken out wherever they stand, percent-encoded or not.
    """
    for secret in sorted(_secrets_of(environment), key=len, reverse=True):  # one may begin another
        for form in {secret, quote(secret, safe=""), unquote(secret)}:
            if len(form) >= _SHORTEST_SECRET and form in text:
                text = text.replace(form, HIDDEN)
    if "://" in text:
        text = _USER.sub(_without_user, text)
    text = _PARAMETER.sub(_without_value, text)
    text = _ASSIGNED.sub(rf"\g<name>{HIDDEN}", text)
    return _KNOWN_SHAPES.sub(HIDDEN, text)


def holds_credentials(text: str) -> bool:
    """Whether a setting or a word of a command line carries a secret.

    That is a user's secret or a signature in a URI, a password among the keywords of a database or
    a key in a connection string, or a token that is known by its shape. A local path never does.
    """
    if _TOKENS.search(text) or _KEYWORDS.search(text):
        return True
    if "://" not in text:
        return False
    if any(map(_is_secret_user, _USER.finditer(re.sub(r"\s", "_", text)))):
        return True
    _, *parameters = re.split("[?#]", text, maxsplit=1)
    names = (pair.partition("=") for query in parameters for pair in re.split("[?&;#]", query))
    return any(value and _SECRET_NAME.fullmatch(unquote(name)) for name, _, value in names)


def _secrets_of(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if len(value) < _SHORTEST_SECRET:
            continue
        if _is_secret_variable(name):
            yield value
        elif "://" in value and (found := _USER.search(value)) and _is_secret_user(found):
            user, _, password = found["user"][:-1].partition(":")
            yield password or user


def _without_user(found: re.Match[str]) -> str:
    if not _is_secret_user(found):
        return found[0]
    return f"{found['scheme']}://{HIDDEN}@"


def _without_value(found: re.Match[str]) -> str:
    secret = _SECRET_NAME.fullmatch(unquote(found["name"][1:]))
    return f"{found['name']}={HIDDEN}" if secret else found[0]


def _is_secret_user(found: re.Match[str]) -> bool:
    user = unquote(found["user"][:-1])
    return ":" in user or (bool(user) and found["scheme"].lower() not in _PLAIN_USERS)


def _is_secret_variable(name: str) -> bool:
    return bool(_SECRET_VARIABLE.search(name)) and not _PLACE_VARIABLE.search(name)


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    point = ord(character)
    short = f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"
    return named.get(character) or (short if point < 0x10000 else f"\\U{point:08x}")
