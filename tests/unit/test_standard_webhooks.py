"""Standard Webhooks, both ways, beside the specification's own library."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from vaultbell.errors import InvalidEvent
from vaultbell.standard_webhooks import key_of, sign, verify

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()
THIRD = "whsec_" + base64.b64encode(b"x" * 24).decode()
KEY, OTHER_KEY = key_of(SECRET), key_of(OTHER)
AT = 1_795_420_860
BODY = '{"type":"cbr.task.failed","summary":"Grüße 🔔"}'.encode()


def signed(**changed: str) -> dict[str, str]:
    """Right headers, and those that are to be wrong; an empty one is left out."""
    headers = sign([KEY], "msg_1", AT, BODY) | {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in headers.items() if value}


def refused(headers: dict[str, str], body: bytes = BODY, now: float = AT) -> bool:
    try:
        verify([KEY], headers, body, now)
    except InvalidEvent:
        return True
    return False


def test_a_known_message_has_its_known_signature() -> None:
    assert sign([KEY, OTHER_KEY], "msg_1", AT, b"{}") == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1795420860",
        "webhook-signature": (
            "v1,0ZSiaLwnLm7MbPbD6VmoWUVGbzZ9iCzJGR9cOg/7h18= v1,e82fCYSPi+bc5gfH5ojK6orlhtpZlONOkUDHNfGMiYU="
        ),
    }


IDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1)


@given(IDS, st.dictionaries(st.text(), st.text()))
def test_the_library_takes_what_we_sign(message_id: str, value: dict[str, str]) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = sign([OTHER_KEY, KEY], message_id, int(datetime.now(UTC).timestamp()), body)
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(body, headers) == value
    with pytest.raises(WebhookVerificationError):
        Webhook(THIRD).verify(body, headers)


@given(IDS, st.text())
def test_we_take_what_the_library_signs(message_id: str, text: str) -> None:
    signature = Webhook(SECRET).sign(message_id, datetime.fromtimestamp(AT, UTC), text)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(AT), "webhook-signature": signature}
    verify([OTHER_KEY, KEY], headers, text.encode(), AT)
    with pytest.raises(InvalidEvent):
        verify([OTHER_KEY], headers, text.encode(), AT)


@pytest.mark.parametrize(
    ("lag", "late"),
    [(0, False), (299, False), (300, False), (300.5, True), (301, True), (-300, False), (-301, True), (86_400, True)],
)
def test_a_message_is_taken_within_five_minutes_of_its_signature(lag: float, late: bool) -> None:
    assert refused(signed(), now=AT + lag) is late


def test_any_of_several_signatures_may_be_ours() -> None:
    ours, others = signed()["webhook-signature"], sign([OTHER_KEY], "msg_1", AT, BODY)["webhook-signature"]
    for given_ in (f"{others} {ours}", f"{ours} {others}", f"v1,AAAA v2,AAAA  v1a,AAAA {ours} v1,"):
        assert not refused(signed(webhook_signature=given_))
    assert refused(signed(webhook_signature=others))


def test_any_of_several_keys_may_verify() -> None:
    for headers in (sign([KEY], "m", AT, BODY), sign([OTHER_KEY], "m", AT, BODY)):
        verify([KEY, OTHER_KEY], headers, BODY, AT)


SIGNATURE = signed()["webhook-signature"]


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_id": ""},
        {"webhook_id": "msg_2"},
        {"webhook_id": "\ud800"},
        {"webhook_timestamp": ""},
        {"webhook_timestamp": str(AT + 1)},
        {"webhook_timestamp": f"{AT}.0"},
        {"webhook_timestamp": f"+{AT}"},
        {"webhook_timestamp": f"-{AT}"},
        {"webhook_timestamp": f" {AT}"},
        {"webhook_timestamp": f"0{AT}"},
        {"webhook_timestamp": "soon"},
        {"webhook_timestamp": "\u0661\u0667"},
        {"webhook_timestamp": "9" * 5000},
        {"webhook_signature": ""},
        {"webhook_signature": "v1,"},
        {"webhook_signature": SIGNATURE[:-1]},
        {"webhook_signature": SIGNATURE + "="},
        {"webhook_signature": SIGNATURE.removeprefix("v1,")},
        {"webhook_signature": SIGNATURE.replace("v1,", "v2,")},
        {"webhook_signature": SIGNATURE.replace("v1,", "v1a,")},
        {"webhook_signature": SIGNATURE.replace("v1,", "V1,")},
        {"webhook_signature": SIGNATURE.replace(" ", ",") + "\ud800"},
        {"webhook_signature": "v1,\udfff"},
    ],
    ids=lambda changed: ascii(changed)[:60],
)
def test_a_header_that_is_missing_or_malformed_is_refused(changed: dict[str, str]) -> None:
    headers = signed(**changed)
    with pytest.raises(InvalidEvent) as refusal:
        verify([KEY], headers, BODY, AT)
    assert (refusal.value.status, refusal.value.code) == (401, "unauthenticated")
    assert not any(value in refusal.value.message for value in headers.values() if len(value) > 5)


def test_a_body_that_was_touched_is_refused() -> None:
    for body in (b"", BODY + b" ", BODY.replace(b"failed", b"passed")):
        assert refused(signed(), body)


def test_without_a_key_nothing_is_taken() -> None:
    with pytest.raises(InvalidEvent):
        verify([], signed(), BODY, AT)


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_is_the_base64_of_24_to_64_bytes(length: int) -> None:
    assert key_of("whsec_" + base64.b64encode(b"k" * length).decode()) == b"k" * length


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        base64.b64encode(b"k" * 32).decode(),
        "WHSEC_" + base64.b64encode(b"k" * 32).decode(),
        "whsec_" + base64.b64encode(b"k" * 32).decode().rstrip("="),
        "whsec_" + base64.b64encode(b"k" * 32).decode() + "\n",
        "whsec_" + "!" * 40,
        "whsec_" + "ü" * 40,
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^a secret is `whsec_` and the base64 of 24 to 64 bytes$") as refusal:
        key_of(secret)
    assert not secret or secret not in str(refusal.value) or secret == "whsec_"
