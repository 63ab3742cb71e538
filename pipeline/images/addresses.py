"""Which IP addresses are of the open internet, and no way back inside."""

from __future__ import annotations

import ipaddress
from typing import Final

#: IPv4 that must not be reached: IANA's special-purpose registry, multicast and reserved ranges,
#: and the addresses at which clouds answer their own machines (Azure's 168.63.129.16; those of AWS,
#: Google, Alibaba and Oracle lie in the ranges before it).
_INSIDE_4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            "168.63.129.16/32",
        ),
    )
)

#: The part of IPv6 that is given out (RFC 4291). Loopback, mapped and compatible IPv4, NAT64,
#: link-local, site-local, unique local and multicast addresses all lie outside.
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")

#: What inside it is no host of its own: protocol assignments with Teredo and ORCHID, documentation,
#: 6to4, which carries any IPv4 address.
_INSIDE_6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)

#: Interface part of ISATAP (RFC 5214): the IPv4 address follows, and may be a private one.
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def is_public(address: str) -> bool:
    """Whether an IP address, as a resolver gives it, is one of the open internet.

    Args:
        address: IPv4 or IPv6; what is neither is not public, nor is one with a zone.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _INSIDE_4)
    if ip.scope_id is not None or ip not in _GLOBAL_6:
        return False
    isatap = (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP
    return not isatap and not any(ip in network for network in _INSIDE_6)
