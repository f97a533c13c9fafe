"""Where the cloud answers, by region ("Regions and Endpoints" of both Open Telekom Cloud sites; the vendor SDK)."""

from __future__ import annotations

from typing import NamedTuple

from vaultbell.errors import Misconfigured

# Region to domain. All others are Huawei Cloud's, `{region}.myhuaweicloud.com`.
DOMAINS = {
    "eu-de": "otc.t-systems.com",
    "eu-nl": "otc.t-systems.com",
    "eu-ch2": "sc.otc.t-systems.com",
    "eu-west-101": "myhuaweicloud.eu",
}
HUAWEI = "myhuaweicloud.com"
IAM_HOSTS = {"eu-ch2": "iam-pub"}  # the Swiss cloud's public IAM has a name of its own


class Endpoints(NamedTuple):
    """Addresses for a region; those given in the settings win over the tables."""

    region: str | None = None
    auth_url: str | None = None
    cbr_endpoint: str | None = None

    def cbr(self, region: str | None) -> str:
        """Where CBR answers for a project of that region (None: the default one); no slash at its end."""
        if self.cbr_endpoint:
            return self.cbr_endpoint.rstrip("/").removesuffix("/v3")
        return f"https://{_host('cbr', region or self.region)}"

    def iam(self, region: str | None) -> str:
        """Where IAM gives tokens, up to and with `/v3`."""
        if self.auth_url:
            return self.auth_url.rstrip("/").removesuffix("/auth/tokens").removesuffix("/v3") + "/v3"
        region = region or self.region
        return f"https://{_host(IAM_HOSTS.get(region or '', 'iam'), region)}/v3"


def domain_of(region: str) -> str:
    """The domain that all services of a region share; their hosts are `{service}.{region}.{domain}`."""
    return DOMAINS.get(region, HUAWEI)


def _host(service: str, region: str | None) -> str:
    if not region:
        raise Misconfigured("the region is not known: set OS_REGION_NAME", cause="endpoint")
    return f"{service}.{region}.{domain_of(region)}"
