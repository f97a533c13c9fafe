"""Which addresses may be connected to: the address guard's table, judged on the address itself, never on a name.

Source: IANA's IPv4 and IPv6 Special-Purpose Address Registries, and those of multicast and reserved space. The table
is explicit, because `ipaddress.is_private` means something else in each release of Python.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Row = tuple[IPv4Network | IPv6Network, str]


def _rows(*rows: tuple[str, str]) -> tuple[Row, ...]:
    return tuple((ip_network(network), reason) for network, reason in rows)


# Nobody's receiver: where a cloud tells a machine its credentials, and what never leaves the wire.
ALWAYS = _rows(
    ("169.254.169.254/32", "cloud metadata"),
    ("100.100.100.200/32", "cloud metadata"),
    ("fd00:ec2::254/128", "cloud metadata"),
    ("169.254.0.0/16", "link-local"),
    ("fe80::/10", "link-local"),
)
SPECIAL = _rows(
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "AS112"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("64:ff9b:1::/48", "local translation"),
    ("100::/64", "discard"),
    ("100:0:0:1::/64", "dummy prefix"),
    ("2001::/32", "Teredo"),
    ("2001:2::/48", "benchmarking"),
    ("2001:10::/28", "ORCHID"),
    ("2001:20::/28", "ORCHID"),
    ("2001::/23", "protocol assignments"),
    ("2001:db8::/32", "documentation"),
    ("2620:4f:8000::/48", "AS112"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
# IPv6 addresses that end, or lie, in an IPv4 one: the network, and how far right the IPv4 address ends.
INSIDE = (
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated, RFC 2765
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)


def refusal(ip: str, *, allow_private: bool) -> str | None:
    """Why this address is refused, in a word or two, or None where it may be connected to.

    Metadata and link-local addresses are refused always; the rest of the table where `allow_private` is false.
    A mapped, NAT64 or 6to4 address counts as the IPv4 address inside. A zone (`%eth0`) makes no difference.
    """
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return "not an address"
    if isinstance(address, IPv6Address):
        address = _inside(address) or address
    rows = ALWAYS if allow_private else ALWAYS + SPECIAL
    return next((reason for network, reason in rows if address in network), None)


def _inside(address: IPv6Address) -> IPv4Address | None:
    if int(address) <= 1:  # `::` and `::1` only look IPv4-compatible
        return None
    return next(
        (IPv4Address(int(address) >> shift & 0xFFFFFFFF) for network, shift in INSIDE if address in network), None
    )
