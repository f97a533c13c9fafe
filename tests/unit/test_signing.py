"""Signed requests: the same signature as the vendor's own signer makes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given
from hypothesis import strategies as st

from vaultbell.cloud.signing import KeyPair, headers

NOW = datetime(2026, 11, 23, 8, 1, 2, tzinfo=UTC)
PROJECT = "0123456789abcdef0123456789abcdef"
KEYS = KeyPair("ACCESSKEY", "the-secret-key")
URL = f"https://cbr.eu-de.otc.t-systems.com/v3/{PROJECT}/operation-logs"


def by_the_vendor(
    keys: KeyPair, method: str, host: str, path: str, pairs: list[tuple[str, str]], extra: dict[str, str]
) -> str:
    """The Authorization that the vendor's signer puts on a request without a body."""
    said = {"X-Sdk-Date": "20261123T080102Z", **extra}
    if keys.security_token:
        said["X-Security-Token"] = keys.security_token
    request = SdkRequest(
        method=method, schema="https", host=host, resource_path=path, query_params=pairs, header_params=said, body=""
    )
    signed = Signer(SimpleNamespace(ak=keys.access_key, sk=keys.secret_key)).sign(request)
    authorization: str = signed.header_params["Authorization"]
    return authorization


def ours(keys: KeyPair, method: str, host: str, path: str, query: str, project_id: str | None) -> str:
    return headers(keys, method, f"https://{host}{path}{f'?{query}' if query else ''}", NOW, project_id)[
        "Authorization"
    ]


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
SEGMENTS = st.sampled_from(["v3", PROJECT, "operation-logs", "a b", "a/b", "~x-._"]) | WORDS
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PAIRS = st.lists(st.tuples(st.sampled_from(["status", "limit", "a b", "ü"]) | WORDS, VALUES), max_size=5)


@given(
    keys=st.builds(KeyPair, ASCII, ASCII, st.none() | ASCII),
    method=st.sampled_from(["GET", "POST", "get", "DELETE"]),
    host=st.sampled_from(["cbr.eu-de.otc.t-systems.com", "127.0.0.1:8443"]),
    path=st.lists(SEGMENTS, min_size=1, max_size=5),
    pairs=PAIRS,
    plus=st.booleans(),
    project_id=st.none() | st.just(PROJECT),
    slash=st.booleans(),
)
def test_every_request_is_signed_as_the_vendor_signs_it(
    keys: KeyPair,
    method: str,
    host: str,
    path: list[str],
    pairs: list[tuple[str, str]],
    plus: bool,
    project_id: str | None,
    slash: bool,
) -> None:
    sent = "/" + "/".join(quote(segment, safe="") for segment in path) + ("/" if slash else "")
    query = urlencode(pairs) if plus else urlencode(pairs, quote_via=quote)
    extra = {"X-Project-Id": project_id} if project_id else {}
    assert ours(keys, method, host, sent, query, project_id) == by_the_vendor(keys, method, host, sent, pairs, extra)


def test_a_slash_and_a_tilde_are_signed_as_the_vendor_signs_them() -> None:
    pairs = [("a/b", "c"), ("d", "e/f"), ("~", "~")]
    signed = ours(KEYS, "GET", "cbr.example.org", "/v3/g%2Fh/~", urlencode(pairs), None)
    assert signed == by_the_vendor(KEYS, "GET", "cbr.example.org", "/v3/g%2Fh/~", pairs, {})


def test_a_known_request_has_its_known_signature() -> None:
    told = headers(KEYS, "GET", f"{URL}?status=failed&limit=1000&offset=0", NOW, PROJECT)
    assert told == {
        "Host": "cbr.eu-de.otc.t-systems.com",
        "X-Sdk-Date": "20261123T080102Z",
        "X-Project-Id": PROJECT,
        "Authorization": (
            "SDK-HMAC-SHA256 Access=ACCESSKEY, SignedHeaders=host;x-project-id;x-sdk-date, "
            "Signature=b260f1358e7b9509c828c2d2e089ab41da37e2d015f3c76480994961848cb702"
        ),
    }


def test_a_security_token_is_sent_and_signed() -> None:
    told = headers(KeyPair("AK", "SK", "temporary"), "GET", URL, NOW)
    assert told["X-Security-Token"] == "temporary"
    assert "SignedHeaders=host;x-sdk-date;x-security-token," in told["Authorization"]
    assert told["Authorization"] != headers(KeyPair("AK", "SK", "another"), "GET", URL, NOW)["Authorization"]
    assert "X-Security-Token" not in headers(KEYS, "GET", URL, NOW)


def test_the_date_is_told_in_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=8)))
    with monkeypatch.context() as machine:
        machine.setenv("TZ", "UTC-8")
        time.tzset()
        told = headers(KEYS, "GET", URL, there)
    time.tzset()
    assert told["X-Sdk-Date"] == "20261123T080102Z"
    assert told == headers(KEYS, "GET", URL, NOW)


@pytest.mark.parametrize("shown", [repr(KeyPair("AK", "SK", "temporary")), str(KeyPair("AK", "SK", "temporary"))])
def test_keys_are_not_shown(shown: str) -> None:
    assert shown == "KeyPair()"
