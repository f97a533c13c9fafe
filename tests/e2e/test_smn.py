"""SMN reaches the running function: a certificate from SMN's own host, over TLS and through the company's proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from serving import serving
from smn_sender import CERTIFICATE_URL, TOPIC, Sender
from standin import Cloud
from standin.certificates import Authority
from standin.proxy import Proxy
from standin.server import Server
from standin.sinks import Receiver
from standin.state import Answer

HOST = "smn.eu-de.otc.t-systems.com"
CONFIRM_URL = f"https://{HOST}/smn/subscription/confirm?token=t0ken"


def test_smn_is_believed_by_its_signature_and_by_nothing_else(cloud: Cloud, receiver: Receiver, tmp_path: Path) -> None:
    sender, ca = Sender(), Authority(tmp_path)
    asked: list[str] = []

    def smn_host(_method: str, path: str, query: str, headers: Mapping[str, str], _body: bytes) -> Answer:
        asked.append(f"https://{headers['host']}{path}{f'?{query}' if query else ''}")
        return Answer(200, {}, sender.certificate if path.endswith(".pem") else b"confirmed")

    with (
        Server(smn_host, tls=ca.certificate(HOST)) as there,
        Proxy(leads_to=("127.0.0.1", there.port)) as proxy,
        serving(
            cloud.env()
            | {
                "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
                "VAULTBELL_SMN_TOPICS": TOPIC,
                "VAULTBELL_INBOUND_TOKEN": "a-token-that-smn-does-not-have",
                "HTTPS_PROXY": proxy.url,
                "NO_PROXY": "127.0.0.1",
                "SSL_CERT_FILE": ca.file,
            }
        ) as function,
    ):

        def post(message: dict[str, str]) -> int:
            headers = {"X-SMN-MESSAGE-TYPE": message["type"], "X-SMN-TOPIC-URN": TOPIC}
            return function.post(message, headers=headers).status_code

        assert post(sender.confirmation(subscribe_url=CONFIRM_URL)) == 200
        assert asked == [CERTIFICATE_URL, CONFIRM_URL]
        failed = cloud.outcome("failed")
        told = sender.notification(json.dumps({"operation_log_id": failed["id"]}))
        assert post(told) == 200
        assert [got.json["data"]["operation_log"]["id"] for got in receiver.requests] == [failed["id"]]
        assert post(sender.notification(json.dumps({"operation_log_id": cloud.outcome("running")["id"]}))) == 200
        assert post({**told, "message": told["message"].replace("a", "b")}) == 401
        assert post(Sender().notification("{}")) == 401
        assert post(sender.notification("{}", topic_urn=f"{TOPIC}-of-others")) == 403
        assert post(sender.notification("hello")) == 400
        assert post(sender.confirmation("UnsubscribeConfirmation")) == 200
        assert asked == [CERTIFICATE_URL, CONFIRM_URL]
        assert len(receiver.requests) == 1
        assert [line["topic"] for line in function.lines("the SMN subscription is confirmed")] == [TOPIC]
        assert '"level": "error", "message": "SMN says that we are unsubscribed' in function.log
        assert function.post({"operation_log_id": failed["id"]}).status_code == 401
