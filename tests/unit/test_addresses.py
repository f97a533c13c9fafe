"""The address guard's table: every row at both ends, and what lies just outside."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from vaultbell.addresses import refusal

ALWAYS = {
    "169.254.0.0/16": "link-local",
    "169.254.169.254/32": "cloud metadata",
    "100.100.100.200/32": "cloud metadata",
    "fe80::/10": "link-local",
    "fd00:ec2::254/128": "cloud metadata",
}
SPECIAL = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared (CGNAT)",
    "127.0.0.0/8": "loopback",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "255.255.255.255/32": "broadcast",
    "240.0.0.0/5": "reserved",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "local translation",
    "100::/64": "discard",
    "100:0:0:1::/64": "dummy prefix",
    "2001::/32": "Teredo",
    "2001:1::/32": "protocol assignments",
    "2001:2::/48": "benchmarking",
    "2001:3::/32": "protocol assignments",
    "2001:4:112::/48": "protocol assignments",
    "2001:10::/28": "ORCHID",
    "2001:20::/28": "ORCHID",
    "2001:30::/28": "protocol assignments",
    "2001:1ff::/32": "protocol assignments",
    "2001:db8::/32": "documentation",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
PUBLIC = [
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0"),
    *("192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0", "192.88.98.255", "192.88.100.0"),
    *("192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0", "198.17.255.255", "198.20.0.0"),
    *("198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *("2001:200::", "2001:db7:ffff:ffff::", "2001:db9::", "2606:4700::1111", "2620:4f:7fff::", "2620:4f:8001::"),
    *("64:ff9a::", "64:ff9b:2::", "100:0:0:2::", "3ffe::", "3fff:1000::", "2a00:1450:4001::"),
]
WRAPPED = ["::ffff:{}", "::ffff:0:{}", "::{}", "64:ff9b::{}"]


def ends(network: str) -> tuple[str, str]:
    found = ip_network(network)
    return str(found[0]), str(found[-1])


def six_to_four(ip: str) -> str:
    return str(IPv6Address(0x2002 << 112 | int(IPv4Address(ip)) << 80 | 0x1234))


@pytest.mark.parametrize(("network", "reason"), ALWAYS.items())
def test_metadata_and_link_local_are_refused_always(network: str, reason: str) -> None:
    for ip in ends(network):
        assert (refusal(ip, allow_private=True), refusal(ip, allow_private=False)) == (reason, reason)


@pytest.mark.parametrize(("network", "reason"), SPECIAL.items())
def test_every_row_is_refused_unless_private_is_allowed(network: str, reason: str) -> None:
    for ip in ends(network):
        assert (refusal(ip, allow_private=False), refusal(ip, allow_private=True)) == (reason, None)


@pytest.mark.parametrize("ip", PUBLIC)
def test_what_lies_just_outside_is_public(ip: str) -> None:
    assert refusal(ip, allow_private=False) is None


@pytest.mark.parametrize("form", WRAPPED)
def test_an_ipv4_address_inside_an_ipv6_one_is_judged_as_itself(form: str) -> None:
    for ip in ("10.1.2.3", "127.0.0.1", "224.0.0.1", "8.8.8.8", "169.254.169.254", "100.100.100.200"):
        for allow_private in (False, True):
            judged = refusal(form.format(ip), allow_private=allow_private)
            assert judged == refusal(ip, allow_private=allow_private)


def test_a_6to4_address_is_judged_by_the_address_inside() -> None:
    assert refusal(six_to_four("192.168.1.1"), allow_private=False) == "private"
    assert refusal(six_to_four("169.254.169.254"), allow_private=True) == "cloud metadata"
    assert refusal(six_to_four("8.8.8.8"), allow_private=False) is None


def test_a_zone_makes_no_difference() -> None:
    assert refusal("fe80::1%eth0", allow_private=True) == "link-local"
    assert refusal("2606:4700::1111%1", allow_private=False) is None


@pytest.mark.parametrize(
    "text", ["", "localhost", "010.0.0.1", "127.1", "1.2.3.4.5", "[::1]", "%eth0", "::1::", "٣.1.1.1"]
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    assert refusal(text, allow_private=True) == "not an address"
