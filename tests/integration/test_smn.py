"""SMN over HTTP: who is believed, and how a subscription is confirmed. Its hosts are answered by `responses`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
import requests
import responses

from smn_sender import CERTIFICATE_URL, CONFIRM_URL, TOPIC, Sender
from vaultbell.budget import Budget
from vaultbell.cloud.smn_trust import SmnTrust
from vaultbell.errors import InvalidEvent, Transient
from vaultbell.transport import Transport

TASK = '{"operation_log_id": "00000000-0000-4000-8000-000000000004"}'
SENDER = Sender()


@pytest.fixture(autouse=True)
def smn() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(CERTIFICATE_URL, body=SENDER.certificate)
        mock.get(CONFIRM_URL, body="confirmed")
        yield mock


@pytest.fixture
def trust() -> SmnTrust:
    return SmnTrust([TOPIC], Transport(allow_private=False))


def admit(trust: SmnTrust, message: Mapping[str, object] | bytes) -> None:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    trust.admit(body, Budget(time.monotonic() + 3))


def refusal(trust: SmnTrust, message: Mapping[str, object] | bytes) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        admit(trust, message)
    return caught.value


def asked(mock: responses.RequestsMock) -> list[str]:
    return [str(call.request.url) for call in mock.calls]


def test_a_signed_message_of_an_allowed_topic_is_believed(smn: responses.RequestsMock, trust: SmnTrust) -> None:
    admit(trust, SENDER.notification(TASK))
    admit(trust, SENDER.notification("Backup von Jürgens Server: fehlgeschlagen ✗", subject="Größe"))
    assert asked(smn) == [CERTIFICATE_URL]  # once: it is kept


@pytest.mark.parametrize("subject", ["kept when it was signed", "left out"])
def test_an_empty_subject_may_or_may_not_have_been_signed(trust: SmnTrust, subject: str) -> None:
    message = SENDER.notification(TASK, **({"subject": ""} if subject.startswith("kept") else {}))
    admit(trust, {**message, "subject": ""})


@pytest.mark.parametrize(
    "change",
    [
        {"message": TASK.replace("4", "5")},
        {"message_id": "0" * 32},
        {"timestamp": "2026-11-24T09:45:00Z"},
        {"subject": "another"},
        {"type": "UnsubscribeConfirmation", "subscribe_url": CONFIRM_URL},
        {"signature": "AAAA"},
        {"signature": "not base64!"},
        {"signature": ""},
        {"message": 7},
        {"timestamp": None},
    ],
    ids="-".join,
)
def test_a_message_that_was_changed_on_its_way_is_refused(trust: SmnTrust, change: dict[str, object]) -> None:
    assert refusal(trust, {**SENDER.notification(TASK), **change}).status == 401


@pytest.mark.parametrize("missing", ["signature", "signing_cert_url", "message", "timestamp"])
def test_an_unsigned_message_is_refused(trust: SmnTrust, missing: str) -> None:
    message = SENDER.notification(TASK)
    del message[missing]
    assert refusal(trust, message).status == 401


def test_a_message_signed_by_somebody_else_is_refused(trust: SmnTrust) -> None:
    assert refusal(trust, Sender().notification(TASK)).status == 401


@pytest.mark.parametrize(
    "url",
    [
        "https://smn.eu-de.otc.t-systems.com.example.org/smn/SMN_eu-de_3190c26a.pem",
        "https://example.org/smn/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-nl.otc.t-systems.com/smn/SMN_eu-nl_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com/smn/SMN_eu-nl_3190c26a.pem",
        "http://smn.eu-de.otc.t-systems.com/smn/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com:8443/smn/SMN_eu-de_3190c26a.pem",
        "https://a@smn.eu-de.otc.t-systems.com/smn/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com@example.org/smn/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com\\@example.org/smn/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com/smn/../evil/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com/smn/SMN_eu-de_3190c26a.pem?x=1",
        "https://smn.eu-de.otc.t-systems.com/evil.pem",
        "https://[::1]/smn/SMN_eu-de_3190c26a.pem",
        "https://smn.eu-de.otc.t-systems.com/smn/SMN_eu-de_3190c26a.pem\r\nX: y",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_certificate_elsewhere_is_not_even_fetched(smn: responses.RequestsMock, trust: SmnTrust, url: str) -> None:
    error = refusal(trust, SENDER.notification(TASK, signing_cert_url=url))
    assert error.status == 401
    assert asked(smn) == []
    assert not url or url not in error.message


@pytest.mark.parametrize(
    "topic", ["urn:smn:eu-de:0123456789abcdef0123456789abcdef:others", "urn:smn:evil.example.org:x:y", "", "backups"]
)
def test_other_topics_are_not_allowed_and_nothing_is_fetched_for_them(
    smn: responses.RequestsMock, trust: SmnTrust, topic: str
) -> None:
    assert refusal(trust, SENDER.notification(TASK, topic_urn=topic)).status == 403
    assert asked(smn) == []


def test_without_topics_in_the_settings_none_is_allowed() -> None:
    assert refusal(SmnTrust([], Transport()), SENDER.notification(TASK)).status == 403


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type": "Party"}', b"\xff", b'{"type": ["Notification"]}'])
def test_what_is_no_smn_message_is_refused(trust: SmnTrust, body: bytes) -> None:
    assert refusal(trust, body).status == 400


@pytest.mark.parametrize("days", [-3, 2], ids=["not yet", "no longer"])
def test_a_certificate_is_believed_while_it_is_valid_alone(days: int) -> None:
    trust = SmnTrust([TOPIC], Transport(), now=lambda: datetime.now(UTC) + timedelta(days=days))
    assert refusal(trust, SENDER.notification(TASK)).status == 401


@pytest.mark.parametrize("answer", [{"status": 503}, {"status": 429}, {"body": requests.ConnectionError("gone")}])
def test_a_certificate_that_cannot_be_had_for_now_lets_the_message_come_again(
    trust: SmnTrust, answer: dict[str, object]
) -> None:
    with responses.RequestsMock() as mock:
        mock.get(CERTIFICATE_URL, **answer)
        with pytest.raises(Transient):
            admit(trust, SENDER.notification(TASK))


def test_a_certificate_that_is_not_there_is_final(trust: SmnTrust) -> None:
    with responses.RequestsMock() as mock:
        mock.get(CERTIFICATE_URL, status=404)
        assert refusal(trust, SENDER.notification(TASK)).status == 401


def test_a_subscription_to_an_allowed_topic_is_confirmed_by_itself(
    smn: responses.RequestsMock, trust: SmnTrust
) -> None:
    admit(trust, SENDER.confirmation())
    assert asked(smn) == [CERTIFICATE_URL, CONFIRM_URL]


@pytest.mark.parametrize(
    "url",
    [
        "https://console.example.org/smn/subscription/confirm?token=x",
        "http://console.otc.t-systems.com/smn/subscription/confirm?token=x",
        "https://169.254.169.254/latest/meta-data",
        "https://console.otc.t-systems.com.example.org/",
        "https://console.otc.t-systems.com@example.org/",
        "https://otc.t-systems.com/confirm",
        "",
    ],
)
def test_a_subscription_is_confirmed_at_smn_or_the_console_alone(
    smn: responses.RequestsMock, trust: SmnTrust, url: str
) -> None:
    assert refusal(trust, SENDER.confirmation(subscribe_url=url)).status == 401
    assert asked(smn) == [CERTIFICATE_URL]


def test_a_forged_invitation_is_not_followed(smn: responses.RequestsMock, trust: SmnTrust) -> None:
    assert refusal(trust, Sender().confirmation()).status == 401
    assert CONFIRM_URL not in asked(smn)


@pytest.mark.parametrize(
    ("status", "error"), [(503, Transient), (429, Transient), (403, InvalidEvent), (302, InvalidEvent)]
)
def test_a_confirming_that_was_refused_is_told(trust: SmnTrust, status: int, error: type[Exception]) -> None:
    with responses.RequestsMock() as mock:
        mock.get(CERTIFICATE_URL, body=SENDER.certificate)
        mock.get(CONFIRM_URL, status=status, headers={"Location": "https://example.org/"})
        with pytest.raises(error):
            admit(trust, SENDER.confirmation())


def test_being_unsubscribed_is_told_loudly_and_not_undone(
    smn: responses.RequestsMock, trust: SmnTrust, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vaultbell"), "propagate", True)
    admit(trust, SENDER.confirmation("UnsubscribeConfirmation"))
    assert asked(smn) == [CERTIFICATE_URL]
    assert {record.levelname for record in caplog.records if record.name == "vaultbell"} == {"ERROR"}


@pytest.mark.parametrize("aged", [True, False])
def test_a_certificate_that_was_renewed_at_its_place_is_fetched_anew(
    smn: responses.RequestsMock, trust: SmnTrust, monkeypatch: pytest.MonkeyPatch, aged: bool
) -> None:
    admit(trust, SENDER.notification(TASK))
    renewed = Sender()
    smn.replace(responses.GET, CERTIFICATE_URL, body=renewed.certificate)
    monkeypatch.setattr("vaultbell.cloud.smn_trust.FRESH_SECONDS", 0.0 if aged else 60.0)
    if aged:
        admit(trust, renewed.notification(TASK))
    else:  # a forger must not make us ask at every message
        assert refusal(trust, renewed.notification(TASK)).status == 401
    assert asked(smn) == [CERTIFICATE_URL] * (2 if aged else 1)
