"""Ways of doing what Vaultbell does with one event: look the task up, classify, sign, POST, and write a log line.

Each is written as somebody would who needs just that, and has no errors, retries, time-outs or routes to think of.
`Ours` is the product by its own door. All take an event's body and return an answer's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

SECRET = "whsec_" + base64.b64encode(b"a benchmark's key, of 32 bytes..").decode()
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
PROJECT = f"{1000:032x}"
LOG_IN = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": "bell", "password": "secret", "domain": {"name": "OTC"}}},
        },
        "scope": {"project": {"id": PROJECT}},
    }
}
BAD = {"failed": "critical", "timeout": "critical", "skipped": "warning"}

Object = dict[str, Any]


class Peer(Protocol):
    """A way of handling an event. `url` is where the cloud and the receiver are, `ca_file` whom to trust there."""

    def __init__(self, url: str, ca_file: str | None) -> None: ...

    def handle(self, body: bytes) -> str:
        """Handle one event; the answer."""


def settings(url: str, ca_file: str | None) -> dict[str, str]:
    """The environment under which Vaultbell does the same: it does not ask for the past, as no peer does."""
    return {
        "OS_AUTH_URL": f"{url}/v3",
        "OS_USERNAME": "bell",
        "OS_PASSWORD": "secret",
        "OS_USER_DOMAIN_NAME": "OTC",
        "OS_PROJECT_ID": PROJECT,
        "OS_REGION_NAME": "eu-de",
        "CBR_ENDPOINT": url,
        "VAULTBELL_WEBHOOK_URL": f"{url}/hook",
        "VAULTBELL_WEBHOOK_SECRET": SECRET,
        "VAULTBELL_INBOUND_TOKEN": "t",
        "VAULTBELL_HISTORY": "false",
        **({"SSL_CERT_FILE": ca_file} if ca_file else {}),
    }


class Ours:
    """Vaultbell, by the door that all HTTP goes through."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        from vaultbell import compose, tracing  # noqa: PLC0415 - what the peers do not need they do not pay for
        from vaultbell import settings as settings_  # noqa: PLC0415
        from vaultbell.budget import Budget  # noqa: PLC0415
        from vaultbell.platforms import door  # noqa: PLC0415

        environment = settings(url, ca_file)
        if ca_file:
            os.environ["SSL_CERT_FILE"] = ca_file
        self._app = compose.app(settings_.load(environment))
        self._door, self._event, self._budget = door.handle, tracing.event, Budget.of
        self._headers = {"authorization": "Bearer t", "content-type": "application/json"}

    def handle(self, body: bytes) -> str:
        """Handle one event."""
        with self._event("http", self._headers):
            answer = self._door(self._app, "http", self._headers, (), lambda _budget: body, self._budget(25.0))
        if answer.status != 200:
            raise RuntimeError(answer.body)
        return answer.body

    @property
    def contexts(self) -> int:
        """How often a trust store was loaded."""
        from vaultbell import transport  # noqa: PLC0415

        return transport.contexts_built()


class _Connections(threading.local):
    """Kept connections of http.client: one a thread."""

    kept: http.client.HTTPConnection | None = None


class Bare:
    """The floor: http.client, json and hmac; a connection a thread, one token."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._connections = _Connections()
        self._token = ""

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[Any, bytes]:
        connection = self._connections.kept
        if connection is None:
            if self._context:
                connection = http.client.HTTPSConnection(self._host, self._port, context=self._context)
            else:
                connection = http.client.HTTPConnection(self._host, self._port)
            self._connections.kept = connection
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
        if response.status // 100 != 2:
            raise RuntimeError(response.status)
        return response.headers, content

    def handle(self, body: bytes) -> str:
        """Handle one event."""
        event = json.loads(body)
        if not self._token:
            log_in = json.dumps(LOG_IN).encode()
            headers, _ = self._ask("POST", "/v3/auth/tokens", log_in, {"Content-Type": "application/json"})
            self._token = headers["X-Subject-Token"]
        path = f"/v3/{event['project_id']}/operation-logs/{event['operation_log_id']}"
        _, content = self._ask("GET", path, None, {"X-Auth-Token": self._token})
        log = json.loads(content)["operation_log"]
        message = told(log)
        headers = signed(log["id"], message)
        self._ask("POST", "/hook", message, headers)
        return written(log)


def told(log: Object) -> bytes:
    """The message about a task that went bad."""
    severity = BAD[log["status"]]
    error, resource = log["error_info"], log["extra_info"]["resource"]
    reason = f"{error['message']} ({error['code']})"
    data = {
        "outcome": log["status"],
        "severity": severity,
        "summary": f"Backup of {resource['name']} {log['status']}: {reason}",
        "reason": reason,
        "incident": hashlib.sha256(f"{log['project_id']}{resource['id']}".encode()).hexdigest(),
        "region": "eu-de",
        "project_id": log["project_id"],
        "operation_log": log,
    }
    return json.dumps({"type": f"cbr.task.{log['status']}", "timestamp": log["updated_at"], "data": data}).encode()


def signed(task: str, message: bytes) -> dict[str, str]:
    """The headers of a signed message (Standard Webhooks)."""
    name, stamp = "msg_" + hashlib.sha256(task.encode()).hexdigest()[:32], str(int(time.time()))
    digest = hmac.digest(KEY, f"{name}.{stamp}.".encode() + message, "sha256")
    signature = "v1," + base64.b64encode(digest).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": signature,
    }


def written(log: Object) -> str:
    """The answer, and the line of the log."""
    line = json.dumps({"operation_log_id": log["id"], "outcome": log["status"], "delivered": True})
    sys.stderr.write(line + "\n")
    return line


class Urllib3Pydantic:
    """urllib3's pool, and pydantic models of the task by hand."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        import urllib3  # noqa: PLC0415 - see above
        from pydantic import BaseModel  # noqa: PLC0415

        class ErrorInfo(BaseModel):
            code: str = ""
            message: str = ""

        class Resource(BaseModel):
            id: str
            name: str
            type: str

        class Extra(BaseModel):
            resource: Resource

        class OperationLog(BaseModel):
            id: str
            status: str
            operation_type: str
            project_id: str
            created_at: str
            updated_at: str
            ended_at: str | None = None
            vault_id: str | None = None
            vault_name: str | None = None
            error_info: ErrorInfo
            extra_info: Extra

        class Answer(BaseModel):
            operation_log: OperationLog

        self._read = Answer.model_validate_json
        self._url = url
        self._pool = urllib3.PoolManager(maxsize=64, ca_certs=ca_file)
        self._token = ""

    def handle(self, body: bytes) -> str:
        """Handle one event."""
        event = json.loads(body)
        if not self._token:
            answer = self._pool.request("POST", f"{self._url}/v3/auth/tokens", json=LOG_IN)
            self._token = answer.headers["X-Subject-Token"]
        answer = self._pool.request(
            "GET",
            f"{self._url}/v3/{event['project_id']}/operation-logs/{event['operation_log_id']}",
            headers={"X-Auth-Token": self._token},
        )
        log = self._read(answer.data).operation_log.model_dump()
        message = told(log)
        answer = self._pool.request("POST", f"{self._url}/hook", body=message, headers=signed(log["id"], message))
        if answer.status // 100 != 2:
            raise RuntimeError(answer.status)
        return written(log)


class RequestsNaive:
    """What is found in the wild: `requests.get` and `requests.post`, and a token for each event."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        import requests  # noqa: PLC0415 - see above

        self._requests = requests
        self._url = url
        if ca_file:
            os.environ["REQUESTS_CA_BUNDLE"] = ca_file

    def handle(self, body: bytes) -> str:
        """Handle one event."""
        event = json.loads(body)
        answer = self._requests.post(f"{self._url}/v3/auth/tokens", json=LOG_IN, timeout=10)
        token = answer.headers["X-Subject-Token"]
        path = f"/v3/{event['project_id']}/operation-logs/{event['operation_log_id']}"
        answer = self._requests.get(f"{self._url}{path}", headers={"X-Auth-Token": token}, timeout=10)
        answer.raise_for_status()
        log = answer.json()["operation_log"]
        message = told(log)
        answer = self._requests.post(f"{self._url}/hook", data=message, headers=signed(log["id"], message), timeout=10)
        answer.raise_for_status()
        return written(log)


class Vendor:
    """The vendor's SDK (huaweicloudsdkcbr, which signs and keeps its connection), and `requests.post`."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        import requests  # noqa: PLC0415 - see above
        from huaweicloudsdkcbr.v1 import CbrClient, ShowOpLogRequest  # type: ignore[import-not-found]  # noqa: PLC0415
        from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415
        from huaweicloudsdkcore.http.http_config import HttpConfig  # noqa: PLC0415

        config = HttpConfig.get_default_config()
        if ca_file:
            config.ssl_ca_cert = ca_file
            os.environ["REQUESTS_CA_BUNDLE"] = ca_file
        credentials = BasicCredentials("access", "secret", PROJECT)
        builder = CbrClient.new_builder().with_http_config(config).with_credentials(credentials)
        self._client = builder.with_endpoint(url).build()
        self._request, self._requests, self._url = ShowOpLogRequest, requests, url

    def handle(self, body: bytes) -> str:
        """Handle one event."""
        event = json.loads(body)
        found = self._client.show_op_log(self._request(operation_log_id=event["operation_log_id"]))
        log = found.to_dict()["operation_log"]
        log["updated_at"] = str(log["updated_at"])
        message = told(json.loads(json.dumps(log, default=str)))
        answer = self._requests.post(f"{self._url}/hook", data=message, headers=signed(log["id"], message), timeout=10)
        answer.raise_for_status()
        return written(log)


class OtcExtensions:
    """The SDK of the Open Telekom Cloud (otcextensions on openstacksdk, one token), and `requests.post`."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        # what the other peers do not need they do not pay for; only the environment of the peers has these
        import openstack  # type: ignore[import-not-found]  # noqa: PLC0415 - as said
        import requests  # noqa: PLC0415 - as said
        from otcextensions import sdk  # type: ignore[import-not-found]  # noqa: PLC0415 - as said

        if ca_file:
            os.environ["REQUESTS_CA_BUNDLE"] = ca_file
        self._connection = openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_type="v3password",
            auth={
                "auth_url": f"{url}/v3",
                "username": "bell",
                "password": "secret",
                "user_domain_name": "OTC",
                "project_id": PROJECT,
            },
            region_name="eu-de",
            cbr_endpoint_override=f"{url}/v3/{PROJECT}",
            cacert=ca_file,
        )
        sdk.register_otc_extensions(self._connection)
        self._requests, self._url = requests, url

    def handle(self, body: bytes) -> str:
        """Handle one event."""
        event = json.loads(body)
        log = self._connection.cbr.get_task(event["operation_log_id"]).to_dict(computed=False)
        log["extra_info"]["resource"] = log["extra_info"].pop("resource_info")  # the SDK's name for it
        message = told(log)
        answer = self._requests.post(f"{self._url}/hook", data=message, headers=signed(log["id"], message), timeout=10)
        answer.raise_for_status()
        return written(log)


PEERS: Mapping[str, Callable[[str, str | None], Peer]] = {
    "ours": Ours,
    "bare": Bare,
    "urllib3": Urllib3Pydantic,
    "naive": RequestsNaive,
    "vendor": Vendor,
    "otcextensions": OtcExtensions,
}
