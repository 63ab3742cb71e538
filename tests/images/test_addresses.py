"""Addresses that lead inside a network, in every form that carries one."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.images.addresses import is_public

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2001:20::1",
    "2002:a9fe:a9fe::",
    "2002:7f00:1::1",
    "3fff::1",
    "2606:2800:220:1:0:5efe:10.0.0.1",
    "2606:2800:220:1:200:5efe:10.0.0.1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:2800:220:1::1%eth0",
    "fec0::1",
    "ff02::1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_lead_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "2a00:1450::1"],
)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_nothing_that_python_calls_inside_is_public(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    if not address.is_global or address.is_multicast:
        assert not is_public(str(address))


@given(st.integers(0, 2**128 - 1) | st.integers(0x20010000 << 96, 0x20030000 << 96))
def test_nor_in_ipv6(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    if not address.is_global or address.is_multicast:
        assert not is_public(str(address))
