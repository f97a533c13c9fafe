"""What the stand-in cloud answers: IAM's password log-in, CBR's task, its lists, and the control paths.

One function, `answer`, is the whole cloud; `standin.mock` and `standin.server` only carry it.
Sources: IAM API reference, "Obtaining a User Token Through Password Authentication"; CBR API reference, "Querying a
Single Task", "Querying the Task List", "Querying the Vault List" and "Querying the Policy List"; API Gateway guide,
"Error Codes"; the signer of the vendor's Python SDK.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, unquote
from uuid import uuid4

from standin import logs
from standin.state import FILTERS, PAGE_MOST, WIRE_KINDS, Answer, Cloud, Fault, Refusal, Request

STATUSES = ("success", "skipped", "failed", "running", "timeout", "waiting")
TYPES = (*logs.FAILURES, "migrate_resources")
_SHOW = re.compile(r"/v3/([^/]+)/operation-logs/([^/]+)")
_LIST = re.compile(r"/v3/([^/]+)/operation-logs")
_VAULTS = re.compile(r"/v3/([^/]+)/(vaults|policies)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SIGNED = re.compile(r"SDK-HMAC-SHA256 Access=([^,]*), SignedHeaders=([^,]*), Signature=([0-9a-f]{64})")


def answer(cloud: Cloud, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Answer one request. `path` and `query` are as sent, header names in lower case."""
    if path.startswith("/_standin/"):
        return _control(cloud, method, path, body)
    where = "iam" if path == "/v3/auth/tokens" else "show" if _SHOW.fullmatch(path) else "other"
    where = "list" if _LIST.fullmatch(path) else where
    where = listed[2] if (listed := _VAULTS.fullmatch(path)) else where
    fault = cloud.take_fault(where)
    reply = _spoilt(cloud, fault, where) if fault else None
    if reply is None:
        reply = _healthy(cloud, where, method, path, query, headers, body)
    if fault and fault.kind in WIRE_KINDS:
        reply = reply._replace(fault=fault)
    if fault and fault.kind == "wrong_id" and where == "show" and reply.status == 200:
        reply = _json(200, {"operation_log": {**json.loads(reply.body)["operation_log"], "id": str(uuid4())}})
    cloud.record(where, Request(method, path, query, reply.status))
    if where == "list" and cloud.between_pages:
        cloud.between_pages()
    return reply


def _healthy(
    cloud: Cloud, where: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> Answer:
    if path == "/v3/auth/tokens":
        return _log_in(cloud, query, body) if method == "POST" else _error(405, "IAM.0005", "No such method.")
    found = _SHOW.fullmatch(path) or _LIST.fullmatch(path) or _VAULTS.fullmatch(path)
    if not found:
        return _error(404, "APIGW.0101", "The API does not exist or has not been published")
    if method != "GET":
        return _error(405, "APIGW.0106", "No such method.")
    project_id, *rest = found.groups()
    if refused := _refusal(cloud, project_id, method, path, query, headers, body):
        return refused
    if (project_id, where) in cloud.forbidden:
        return _refused("forbidden")
    if rest == ["vaults"]:
        return _vaults(cloud, project_id, query)
    if rest == ["policies"]:
        return _policies(cloud, project_id, query)
    if not rest:
        return _page(cloud, project_id, query)
    text = cloud.show(project_id, rest[0])
    if text is None:
        return _error(404, "BackupService.6500", "There is no operation log of this id.")
    return Answer(200, {"Content-Type": "application/json"}, b'{"operation_log":' + text + b"}")


def _log_in(cloud: Cloud, query: str, body: bytes) -> Answer:
    try:
        auth = json.loads(body)["auth"]
        identity = auth["identity"]
        user = identity["password"]["user"]
        given = (user["domain"]["name"], user["name"])
        right = identity["methods"] == ["password"] and cloud.users.get(given) == user["password"]
        scope = auth.get("scope", {}).get("project")
        project_id = None if scope is None else _project(cloud, scope)
    except (ValueError, LookupError, TypeError, AttributeError):
        return _iam_error(400, "IAM.0007", "Bad Request", "The request is malformed.")
    if not right:
        return _iam_error(401, "IAM.0001", "Unauthorized", "The user name or password is wrong.")
    if scope is not None and (project_id is None or (project_id, "iam") in cloud.forbidden):
        return _refused("no_role")
    text, token = cloud.issue(project_id)
    said: dict[str, Any] = {
        "methods": ["password"],
        "issued_at": _zulu(token.expires_at - cloud.token_life),
        "expires_at": _zulu(token.expires_at),
        "user": {"id": "5" * 32, "name": given[1], "domain": {"id": "6" * 32, "name": given[0]}},
        "roles": [],
    }
    if project_id:
        said["project"] = {"id": project_id, "name": cloud.projects[project_id], "domain": said["user"]["domain"]}
    if "nocatalog" not in dict(parse_qsl(query, keep_blank_values=True)):
        said["catalog"] = [_service(cloud, number) for number in range(60)]
    return _json(201, {"token": said}, {"X-Subject-Token": text})


def _project(cloud: Cloud, scope: Mapping[str, str]) -> str | None:
    return next((key for key, name in cloud.projects.items() if scope in ({"id": key}, {"name": name})), None)


def _service(cloud: Cloud, number: int) -> dict[str, Any]:
    url = f"https://service-{number}.{cloud.region}.example.com/v3"
    return {
        "id": f"{number:032x}",
        "name": f"service-{number}",
        "type": "service",
        "endpoints": [{"id": f"{number:032x}", "interface": "public", "region": cloud.region, "url": url}],
    }


def _refusal(
    cloud: Cloud, project_id: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> Answer | None:
    wrong = "Incorrect IAM authentication information: "
    if "authorization" in headers:
        cause = _signature_fault(cloud, project_id, method, path, query, headers, body)
        if cloud.locks(headers["authorization"].partition("Access=")[2].partition(",")[0], right=not cause):
            return _refused("key_locked")
        refused = _error(401, "APIGW.0301", wrong + cause)
        refused.headers["Date"] = format_datetime(cloud.now(), usegmt=True)
        return refused if cause else None
    token = cloud.tokens.get(headers.get("x-auth-token", ""))
    if token is None:
        return _error(401, "APIGW.0301", wrong + "decrypt token fail")
    if token.expires_at <= cloud.now():
        return _error(401, "APIGW.0301", wrong + "token expires")
    if token.project_id != project_id:
        return _error(403, "APIGW.0302", "The token is not for this project.")
    return None


def _signature_fault(
    cloud: Cloud, project_id: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> str:
    """What is wrong with the signature of a request; nothing, when it is right."""
    found = _SIGNED.fullmatch(headers["authorization"])
    if not found:
        return "malformed Authorization"
    access, names, signature = found.groups()
    secret, security_token = cloud.keys.get(access, (None, None))
    if secret is None:
        return "ak not exist"
    signed = names.split(";")
    date = headers.get("x-sdk-date", "")
    needed = {"host", "x-sdk-date"} | ({"x-security-token"} if security_token else set())
    if signed != sorted(signed) or not needed <= set(signed) <= set(headers):
        return "signed headers"
    if security_token and not hmac.compare_digest(headers["x-security-token"].encode(), security_token.encode()):
        return "security token"
    if headers.get("x-project-id", project_id) != project_id:
        return "project"
    try:
        at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "malformed X-Sdk-Date"
    if abs(cloud.now() - at) > timedelta(minutes=15):
        return "signature expired"
    canonical = "\n".join(
        [
            method,
            "/".join(quote(unquote(part), safe="~") for part in path.split("/")).rstrip("/") + "/",
            "&".join(
                f"{quote(name, safe='~')}={quote(value, safe='~')}"
                for name, value in sorted(parse_qsl(query, keep_blank_values=True))
            ),
            *(f"{name}:{headers[name].strip()}" for name in signed),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    to_sign = f"SDK-HMAC-SHA256\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    right = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(right, signature) else "verify signature fail"


def _page(cloud: Cloud, project_id: str, query: str) -> Answer:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    try:
        since, until = (_time(asked.pop(name, None)) for name in ("start_time", "end_time"))
        limit, offset = int(asked.pop("limit", PAGE_MOST)), int(asked.pop("offset", 0))
        asked.pop("enterprise_project_id", None)
        right = (
            1 <= limit <= PAGE_MOST
            and offset >= 0
            and set(asked) <= set(FILTERS)
            and asked.get("status", "success") in STATUSES
            and asked.get("operation_type", "backup") in TYPES
        )
    except ValueError:
        right = False
    if not right:
        return _error(400, "BackupService.9900", "A parameter of the query is not valid.")
    limit = min(limit, cloud.page_most)
    texts, number = cloud.page(project_id, since, until, asked, limit, offset)
    said = cloud.says({"count": number, "limit": limit, "offset": offset})
    tail = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in said.items())
    body = b'{"operation_logs":[' + b",".join(texts) + f"]{tail}}}".encode()
    return Answer(200, {"Content-Type": "application/json"}, body)


def _vaults(cloud: Cloud, project_id: str, query: str) -> Answer:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    try:
        limit, offset = int(asked.pop("limit", PAGE_MOST)), int(asked.pop("offset", 0))
        asked.pop("enterprise_project_id", None)
        if not (1 <= limit <= PAGE_MOST and offset >= 0):
            raise ValueError("no such page")
        limit = min(limit, cloud.page_most)
        found, number = cloud.vault_page(project_id, asked, limit, offset)
    except ValueError:
        return _error(400, "BackupService.9900", "A parameter of the query is not valid.")
    return _json(200, {"vaults": found, **cloud.says({"count": number, "limit": limit, "offset": offset})})


def _policies(cloud: Cloud, project_id: str, query: str) -> Answer:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    if not set(asked) <= {"operation_type", "vault_id"}:
        return _error(400, "BackupService.9900", "A parameter of the query is not valid.")
    found = cloud.policies_of(project_id, asked)
    return _json(200, {"policies": found, "count": len(found)})


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    if not _TIME.fullmatch(text):
        raise ValueError("not a time of the form that the API takes")
    return datetime.fromisoformat(text).timestamp()


def _spoilt(cloud: Cloud, fault: Fault, where: str) -> Answer | None:
    """What a fault says instead of the right answer; None where it needs the right one."""
    args = fault.args
    match fault.kind:
        case "status":
            said = args.get("body", {"error_code": "APIGW.9999", "error_msg": "told to fail"})
            text = (
                said
                if isinstance(said, bytes)
                else said.encode()
                if isinstance(said, str)
                else json.dumps(said).encode()
            )
            return Answer(int(args.get("status", 503)), dict(args.get("headers", {})), text)
        case "not_json":
            return Answer(201 if where == "iam" else 200, {"Content-Type": "text/html"}, b"<html>All is well.</html>")
        case "no_log":
            return _json(200, {})
        case "expired_token":
            return _error(401, "APIGW.0307", "The token must be updated.")
        case "auth_500":
            return _error(500, "BackupService.9998", "The log-in could not be verified.")
        case "redirect":
            return Answer(int(args.get("status", 302)), {"Location": args.get("url", cloud.cbr_url)}, b"")
        case refusal if refusal in get_args(Refusal):
            return _refused(refusal)
        case "huge":
            return _json(200, {"operation_log": {"padding": "x" * int(args.get("megabytes", 16) * 2**20)}})
        case _:
            return None


def _control(cloud: Cloud, method: str, path: str, body: bytes) -> Answer:
    try:
        said = json.loads(body or b"{}")
        match method, path.removeprefix("/_standin/"):
            case "POST", "tasks":
                add = cloud.outcome if "outcome" in said else cloud.add
                return _json(201, add(said.pop("outcome"), **said) if "outcome" in said else add(**said))
            case "POST", "vaults":
                return _json(201, cloud.vault(*said.pop("resources", ()), **said))
            case "POST", "policies":
                return _json(201, cloud.policy(*said.pop("vaults", ()), **said))
            case "POST", "faults":
                cloud.fault(**said)
            case "POST", "clock":
                cloud.advance(float(said["advance"]))
            case "POST", "reset":
                cloud.reset()
            case "GET", "requests":
                asked = [request._asdict() for request in list(cloud.requests)]
                return _json(200, {"requests": asked, "counts": cloud.counts, "tokens_issued": cloud.tokens_issued})
            case _:
                return _error(404, "StandIn.404", "There is no such control path.")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return _error(400, "StandIn.400", f"{type(error).__name__}: {error}")
    return _json(200, {"now": _zulu(cloud.now())})


def _refused(refusal: str) -> Answer:
    """What a log-in, or a request, is answered when this has become of who asks."""
    wrong = "Incorrect IAM authentication information: "
    match refusal:
        case "password_expired":
            return _iam_error(401, 401, "Unauthorized", "The password is expired.")
        case "user_locked":
            return _iam_error(401, 401, "Unauthorized", "The user is locked. Try again after 15 minutes.")
        case "no_role":
            return _iam_error(403, "IAM.0003", "Forbidden", "The user has no role in this project.")
        case "key_disabled":
            return _error(401, "APIGW.0301", wrong + "ak not exist")
        case "key_locked":
            return _error(401, "APIGW.0301", wrong + "AK access failed to reach the limit,forbidden.")
        case _:
            return _error(403, "APIGW.0302", "The IAM user is not authorized to access the API.")


def _json(status: int, body: object, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())


def _error(status: int, code: str, message: str) -> Answer:
    return _json(status, {"error_code": code, "error_msg": message, "request_id": uuid4().hex})


def _iam_error(status: int, code: str | int, title: str, message: str) -> Answer:
    return _json(status, {"error": {"code": code, "message": message, "title": title}})


def _zulu(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
