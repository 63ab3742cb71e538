"""Where images of candidates may be read from: nothing but bytes and ``data:`` until allowed."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from pydantic import Field, field_validator

from pipeline.config.base import Names, Settings

#: Object stores that may be named as roots; each is read with credentials of the environment.
STORE_SCHEMES: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HTTPS_PORT: Final = 443


class ImagesConfig(Settings):
    """Where images of candidates may be read from, and what one may cost."""

    base: str | None = Field(
        None,
        description="Folder or URI that relative paths in the image columns start from; images "
        "below it may be read.",
    )
    roots: Names = Field(
        (),
        description="Folders and URI prefixes, such as s3://bucket/photos, below which images may "
        "be read; links are followed before this is judged.",
    )
    https_hosts: Names = Field(
        (),
        description="Hosts from which https images may be fetched, each exactly as in the URI, "
        "with its port if that is not 443; their addresses and redirects are checked.",
    )
    max_bytes: int = Field(20 * 2**20, ge=1, description="Largest encoded image.")
    max_pixels: int = Field(
        100_000_000,
        ge=1,
        description="Largest width times height that is decoded, as the file's header states it; "
        "what a format needs to stay below 1 GiB of memory limits it further.",
    )
    stall_s: float = Field(
        10.0, gt=0, description="Seconds that an https server may keep silent, in any step."
    )
    fetch_s: float = Field(
        30.0, gt=0, description="Seconds that an https image may take, its redirects included."
    )
    decode_s: float = Field(
        20.0, gt=0, description="Seconds of a CPU that decoding and resizing an image may take."
    )

    @field_validator("base")
    @classmethod
    def _base_is_a_place(cls, base: str | None) -> str | None:
        return None if base is None else _root(base)

    @field_validator("roots")
    @classmethod
    def _roots_are_places(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_root(root) for root in roots)

    @field_validator("https_hosts")
    @classmethod
    def _hosts_are_exact(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            try:
                host_and_port(host)
            except ValueError as error:
                raise ValueError(
                    f"'{host}': {error}; give a host as it stands in the URIs, such as "
                    "images.example.com or images.example.com:8443"
                ) from None
        return hosts

    def content(self) -> dict[str, object]:
        """What decides which images are read: part of a run's fingerprint. Times are not."""
        return self.model_dump(mode="json", exclude={"stall_s", "fetch_s", "decode_s"})


def host_and_port(authority: str) -> tuple[str, int]:
    """Host in lower case and port of ``host``, ``host:port`` or ``[IPv6]:port``; 443 unless given.

    Raises:
        ValueError: it has a user, a wildcard, a trailing dot or characters beyond ASCII, or is a
            number in a form that only some programs take for an address (decimal, octal, hex).
    """
    if authority.startswith("["):
        inner, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address without its brackets")
        if "%" in inner:
            raise ValueError("an address with a zone is one of this machine")
        host, port = str(ipaddress.IPv6Address(inner)), rest[1:] if rest else None
    else:
        name, colon, after = authority.partition(":")
        host, port = name.lower(), after if colon else None
        _check_name(host)
    if port is None:
        return host, _HTTPS_PORT
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        raise ValueError("the port is no number from 1 to 65535")
    return host, int(port)


def _check_name(host: str) -> None:
    if not host.isascii():
        raise ValueError("characters beyond ASCII; give the form that begins with xn--")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError("no host name in full (no users, wildcards, schemes, final dots)")
    last = host.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        _check_number(host)


def _check_number(host: str) -> None:
    try:
        ipaddress.IPv4Address(host)  # four decimal numbers without leading zeros
    except ValueError:
        raise ValueError(
            "an address in a form that programs read differently; IPv4 is four decimal numbers, "
            "IPv6 stands in brackets"
        ) from None


def _root(root: str) -> str:
    scheme, separator, rest = root.partition("://")
    if "\0" in root:
        raise ValueError("no path has a zero character in it")
    if not separator or scheme == "file":
        return root
    if scheme in ("http", "https"):
        raise ValueError("hosts stand in input.images.https_hosts; http is never read")
    if scheme not in STORE_SCHEMES or "::" in root:
        raise ValueError(
            f"images are not read from '{scheme}'; expected a folder, or a URI of "
            f"{', '.join(sorted(STORE_SCHEMES))}"
        )
    if not rest.strip("/") or any(part in (".", "..") for part in rest.split("/")):
        raise ValueError("expected a bucket and maybe a prefix, without '.' and '..'")
    return root
