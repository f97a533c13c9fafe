"""Who may come in: by token, by signature, and for which projects."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from vaultbell.errors import InvalidEvent
from vaultbell.inbound import Doorkeeper, Project, allowed

TOKEN = "a-token-of-the-door"
SECRET, OTHER_SECRET = ("whsec_" + base64.b64encode(text).decode() for text in (b"a" * 32, b"b" * 24))
BODY = b'{"operation_log_id": "00000000-0000-4000-8000-000000000004"}'
NOW = datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
FIRST, SECOND = Project("0" * 32), Project("1" * 32, "eu-nl")


def signed(secret: str, body: bytes = BODY, at: datetime = NOW) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }


def refused(keeper: Doorkeeper, headers: Mapping[str, str], tokens: tuple[str, ...] = ()) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        keeper.knows(headers, tokens)
    return caught.value


def test_with_nothing_set_the_door_is_open() -> None:
    keeper = Doorkeeper()
    assert keeper.is_open
    assert keeper.knows({}, [])
    assert not Doorkeeper(TOKEN).is_open
    assert not Doorkeeper(None, [SECRET]).is_open


@pytest.mark.parametrize(
    ("headers", "tokens"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, []),
        ({"authorization": f"BEARER   {TOKEN} "}, []),
        ({"x-vaultbell-token": TOKEN}, []),
        ({}, [TOKEN]),
        ({}, ["another", TOKEN]),
        ({"authorization": "Bearer another", "x-vaultbell-token": TOKEN}, ["another"]),
    ],
)
def test_a_right_token_is_proof_enough(headers: dict[str, str], tokens: list[str]) -> None:
    assert Doorkeeper(TOKEN).knows(headers, tokens)
    assert Doorkeeper(TOKEN, [SECRET]).knows(headers, tokens)


@pytest.mark.parametrize(
    ("headers", "tokens"),
    [
        ({}, ()),
        ({"authorization": TOKEN}, ()),
        ({"authorization": f"Basic {TOKEN}"}, ()),
        ({"authorization": f"Token {TOKEN}"}, ()),
        ({"authorization": "Bearer "}, ()),
        ({"x-vaultbell-token": ""}, ("",)),
        ({"x-vaultbell-token": TOKEN[:-1]}, (TOKEN + " ",)),
        ({"x-vaultbell-token": "tökén"}, ("\ud800", "\udcff")),  # API Gateway's headers are JSON: half a pair may come
    ],
)
def test_anything_else_is_not(headers: dict[str, str], tokens: tuple[str, ...]) -> None:
    for keeper in (Doorkeeper(TOKEN), Doorkeeper(TOKEN, [SECRET])):
        error = refused(keeper, headers, tokens)
        assert (error.status, error.code) == (401, "unauthenticated")
        assert error.message == "a right token or signature is needed"


def test_nothing_stands_in_for_a_proof_that_did_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    monkeypatch.setattr(hmac, "compare_digest", lambda _, given: compared.append(given))
    for headers in ({}, {"authorization": f"Basic {TOKEN}"}):
        refused(Doorkeeper(TOKEN), headers)
    assert set(compared) == {b""}


def test_without_a_token_set_no_token_is_right() -> None:
    for given in ("", "None", TOKEN):
        assert refused(Doorkeeper(None, [SECRET]), {"x-vaultbell-token": given}, (given,)).status == 401


def test_a_signature_counts_only_where_a_secret_is_set() -> None:
    headers = signed(SECRET)
    assert refused(Doorkeeper(TOKEN), headers).status == 401
    keeper = Doorkeeper(TOKEN, [OTHER_SECRET, SECRET])
    assert keeper.knows({**headers, "x-vaultbell-token": "wrong"}, ["wrong"]) is False  # the body has to be seen
    keeper.verify(headers, BODY, NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        (signed(OTHER_SECRET), BODY, 0),
        (signed(SECRET), BODY + b" ", 0),
        (signed(SECRET), b"", 0),
        (signed(SECRET), BODY, 301),
        (signed(SECRET), BODY, -301),
        (signed(SECRET) | {"webhook-id": "msg_2"}, BODY, 0),
        (signed(SECRET) | {"webhook-id": "\ud800"}, BODY, 0),
        (signed(SECRET) | {"webhook-signature": "\ud800"}, BODY, 0),
        (signed(SECRET) | {"webhook-timestamp": "-1"}, BODY, 0),
        (signed(SECRET) | {"webhook-timestamp": "١٢"}, BODY, 0),
    ],
)
def test_a_signature_holds_for_this_body_and_five_minutes(headers: dict[str, str], body: bytes, seconds: int) -> None:
    keeper = Doorkeeper(None, [SECRET])
    keeper.verify(signed(SECRET), BODY, NOW.timestamp() + 299)
    assert keeper.knows(headers, []) is False
    with pytest.raises(InvalidEvent) as caught:
        keeper.verify(headers, body, NOW.timestamp() + seconds)
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("project_id", "region", "found"),
    [
        (None, None, [FIRST, SECOND]),
        (FIRST.project_id, None, [FIRST]),
        (SECOND.project_id, None, [SECOND]),
        (None, "eu-de", [FIRST]),
        (None, "eu-nl", [SECOND]),
        (FIRST.project_id, "eu-de", [FIRST]),
        (SECOND.project_id, "eu-nl", [SECOND]),
    ],
)
def test_allowed_projects_are_looked_in(project_id: str | None, region: str | None, found: list[Project]) -> None:
    assert allowed(project_id, region, [FIRST, SECOND], "eu-de") == found


REFUSALS = {
    "project_not_allowed": "the project is not allowed (VAULTBELL_PROJECTS)",
    "region_not_allowed": "the region is not that of an allowed project (VAULTBELL_PROJECTS, OS_REGION_NAME)",
}


@pytest.mark.parametrize(
    ("project_id", "region", "code"),
    [
        ("2" * 32, None, "project_not_allowed"),
        ("2" * 32, "eu-de", "project_not_allowed"),
        (FIRST.project_id, "eu-nl", "region_not_allowed"),
        (SECOND.project_id, "eu-de", "region_not_allowed"),
        (None, "eu-ch2", "region_not_allowed"),
        (None, "", "region_not_allowed"),
        (None, "eu-de.example.org/", "region_not_allowed"),
    ],
)
def test_no_other_project_or_region_is(project_id: str | None, region: str | None, code: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        allowed(project_id, region, [FIRST, SECOND], "eu-de")
    assert (caught.value.status, caught.value.code) == (403, code)
    assert caught.value.message == REFUSALS[code]  # which setting to look at, and nothing of the event


def test_where_no_region_is_known_an_event_that_names_one_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="region"):
        allowed(None, "eu-de", [FIRST], None)
