"""Where the cloud answers, by region, and what the settings say instead."""

from __future__ import annotations

import pytest

from vaultbell.cloud.endpoints import Endpoints, domain_of
from vaultbell.errors import Misconfigured

# "Regions and Endpoints" of both Open Telekom Cloud sites; the region tables of the vendor's SDK.
KNOWN = [
    ("eu-de", "https://cbr.eu-de.otc.t-systems.com", "https://iam.eu-de.otc.t-systems.com/v3"),
    ("eu-nl", "https://cbr.eu-nl.otc.t-systems.com", "https://iam.eu-nl.otc.t-systems.com/v3"),
    ("eu-ch2", "https://cbr.eu-ch2.sc.otc.t-systems.com", "https://iam-pub.eu-ch2.sc.otc.t-systems.com/v3"),
    ("cn-north-4", "https://cbr.cn-north-4.myhuaweicloud.com", "https://iam.cn-north-4.myhuaweicloud.com/v3"),
    (
        "ap-southeast-3",
        "https://cbr.ap-southeast-3.myhuaweicloud.com",
        "https://iam.ap-southeast-3.myhuaweicloud.com/v3",
    ),
    ("eu-west-101", "https://cbr.eu-west-101.myhuaweicloud.eu", "https://iam.eu-west-101.myhuaweicloud.eu/v3"),
]


@pytest.mark.parametrize(("region", "cbr", "iam"), KNOWN)
def test_every_region_has_its_addresses(region: str, cbr: str, iam: str) -> None:
    assert (Endpoints(region).cbr(None), Endpoints(region).iam(None)) == (cbr, iam)


@pytest.mark.parametrize(("region", "cbr", "iam"), KNOWN)
def test_a_project_of_another_region_is_asked_there(region: str, cbr: str, iam: str) -> None:
    default = Endpoints("eu-de")
    assert (default.cbr(region), default.iam(region)) == (cbr, iam)
    assert (Endpoints().cbr(region), Endpoints().iam(region)) == (cbr, iam)


def test_the_other_services_of_a_region_are_at_home_beside_it() -> None:
    assert [domain_of(region) for region in ("eu-de", "eu-ch2", "cn-north-4")] == [
        "otc.t-systems.com",
        "sc.otc.t-systems.com",
        "myhuaweicloud.com",
    ]


@pytest.mark.parametrize(
    "auth_url",
    [
        "https://iam.example.org/v3",
        "https://iam.example.org/v3/",
        "https://iam.example.org",
        "https://iam.example.org/",
        "https://iam.example.org/v3/auth/tokens",
        "https://iam.example.org/v3/auth/tokens/",
    ],
)
def test_the_log_in_s_address_may_be_written_as_openstack_does(auth_url: str) -> None:
    endpoints = Endpoints("eu-de", auth_url=auth_url)
    assert endpoints.iam("eu-nl") == endpoints.iam(None) == "https://iam.example.org/v3"
    assert endpoints.cbr("eu-nl") == "https://cbr.eu-nl.otc.t-systems.com"


def test_a_path_before_the_version_stays() -> None:
    assert Endpoints(auth_url="http://127.0.0.1:5000/identity/v3").iam(None) == "http://127.0.0.1:5000/identity/v3"


@pytest.mark.parametrize(
    "endpoint", ["https://cbr.example.org", "https://cbr.example.org/", "https://cbr.example.org/v3/"]
)
def test_an_endpoint_of_the_settings_wins_over_the_region(endpoint: str) -> None:
    endpoints = Endpoints("eu-de", cbr_endpoint=endpoint)
    assert endpoints.cbr("eu-nl") == endpoints.cbr(None) == "https://cbr.example.org"
    assert endpoints.iam("eu-nl") == "https://iam.eu-nl.otc.t-systems.com/v3"


def test_without_a_region_it_is_said_what_to_set() -> None:
    for ask in (Endpoints().cbr, Endpoints().iam):
        with pytest.raises(Misconfigured, match="OS_REGION_NAME") as refused:
            ask(None)
        assert refused.value.cause == "endpoint"
