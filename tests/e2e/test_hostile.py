"""What strangers send, and what stands in the cloud's own texts: refused without a word of it, or told harmlessly."""

from __future__ import annotations

import base64
import copy
import json
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from standin.logs import FAILURES, OUTCOMES
from standin.sinks import Got, Mail, Mailbox
from worlds import SECRET, NewWorld, World, packed

MARK = "zq7-offence"
TASK, PROJECT = "00000000-0000-4000-8000-000000000004", "0123456789abcdef" * 2
GOOD = {"operation_log_id": TASK, "project_id": PROJECT, "region": "eu-de", "note": f"{MARK} prüfen 🔔"}
CE = {"specversion": "1.0", "id": MARK, "source": f"/{MARK}", "type": MARK}
CONFIG = """
channels:
  bell: {type: webhook, url: "{url}/bell", secrets: ["{secret}"]}
  mail: {type: email, smtp: "smtp://127.0.0.1:%d?tls=off", from: bell@example.org, to: [ops@example.org]}
routes: [{channels: [bell, mail]}]
"""


@pytest.fixture(scope="module")
def mail() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def world(new_world: NewWorld, mail: Mailbox) -> World:
    """An open door, a webhook and a mailbox."""
    return new_world(config=CONFIG % mail.port)


@pytest.fixture(scope="module")
def unmailed(new_world: NewWorld) -> World:
    """An open door and a webhook."""
    return new_world()


@pytest.fixture(scope="module")
def harmless(world: World, mail: Mailbox) -> tuple[Got, Mail]:
    """What a task with an ordinary name looks like at the webhook and in the mailbox."""
    told = world.tell("failed")
    return told.rung[0], mail.messages[-1]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update({"User-Agent": f"{MARK}-agent", "X-Probe": f"{MARK}-probe", "Cookie": f"a={MARK}"})
        yield session


# Malformed events

NOT_TEXTS: tuple[object, ...] = (0, -7, 1.5, True, False, [], [MARK], {}, {"a": MARK}, [[None]], {"id": TASK}, 10**300)
BAD_IDS = (
    "",
    " ",
    MARK,
    "null",
    f" {TASK}",
    f"{TASK} ",
    f"{TASK}\n",
    f"{TASK}\r\nX-{MARK}: 1",
    f"\n{TASK}",
    f"{TASK}\x00",
    f"\ufeff{TASK}",
    f"{TASK}\u200b",
    f"{{{TASK}}}",
    f"urn:uuid:{TASK}",
    TASK.replace("-", ""),
    TASK.replace("-", "_"),
    TASK.replace("-", "\u2010"),
    TASK[:-1],
    TASK + "0",
    TASK.replace("4", "g"),
    TASK.replace("4", "٤"),
    TASK.replace("0", "\uff10"),
    TASK.replace("8", "\U0001d7d6"),
    TASK[:-1] + "\u0430",
    TASK[:-1] + "\ud800",
    TASK[:-2] + "\ud83d\udd14",
    f"../{TASK}",
    f"{TASK}/..",
    f"{TASK}/../../{MARK}",
    f"..%2f{TASK}",
    f"{TASK}%00",
    f"{TASK}%0d%0aX: y",
    TASK.replace("0", "%30", 1),
    f"{TASK}?limit=1",
    f"{TASK}#",
    f"{TASK};a=b",
    f"{TASK}@example.org",
    f"//example.org/{TASK}",
    f"\\\\example.org\\{TASK}",
    f"{TASK}' OR '1'='1",
    f"${{jndi:ldap://{MARK}}}",
    "{{7*7}}" + MARK,
    MARK * 6_000,
)
TEXTS_THAT_ARE_NO_JSON = (
    "",
    " ",
    "\ufeff",
    "\ufeff\ufeff{}",
    "NaN",
    "Infinity",
    "-Infinity",
    "undefined",
    "None",
    "nul",
    "TRUE",
    MARK,
    f"operation_log_id={TASK}",
    f"operation_log_id: {TASK}",
    f"<event>{MARK}</event>",
    f"{{'operation_log_id': '{TASK}'}}",
    f'{{operation_log_id: "{TASK}"}}',
    f'{{"operation_log_id": "{TASK}",}}',
    f'{{"operation_log_id" "{TASK}"}}',
    f'{{"operation_log_id": "{TASK}"}} {{}}',
    f'{{"operation_log_id": "{TASK}"}}\x00',
    f'{{"operation_log_id": "{TASK}"}}]',
    f'{{"operation_log_id": "{TASK}", "a": NaN}}',
    f'{{"operation_log_id": "{TASK}", "a": -Infinity}}',
    f'{{"operation_log_id": "{TASK}", "a": 01}}',
    f'{{"operation_log_id": "{TASK}", "a": +1}}',
    f'{{"operation_log_id": "{TASK}", "a": .5}}',
    f'{{"operation_log_id": "{TASK}", "a": 1.}}',
    f'{{"operation_log_id": "{TASK}", "a": 0x1F}}',
    f'{{"operation_log_id": "{TASK}", "a": 1e}}',
    f'{{"operation_log_id": "{TASK}", "a": {"9" * 5_000}}}',
    f'{{"operation_log_id": "{TASK}", "a": "\\x41"}}',
    f'{{"operation_log_id": "{TASK}", "a": "\\u12"}}',
    f'{{"operation_log_id": "{TASK}", "a": "{MARK}\n"}}',
    f'{{"operation_log_id": "{TASK}", "a": "{MARK}\x07"}}',
    f'{{"operation_log_id": "{TASK}" /* {MARK} */}}',
    f'{{"operation_log_id": "{TASK}", "operation_log_id": "{TASK}"}}',
    f'{{"operation_log_id": "{TASK}", "a": {{"{MARK}": 1, "{MARK}": 2}}}}',
    f'{{"operation_log_id": "{TASK}", "\\u006fperation_log_id": "{TASK}"}}',
)
VALUES_THAT_NAME_NO_TASK: tuple[object, ...] = (
    *(None, *NOT_TEXTS, MARK, [GOOD], [[GOOD]], {"": GOOD}, {"Operation_Log_Id": TASK}, {"id": TASK}, {"event": GOOD}),
    *({"operation_log_id": value} for value in (None, *NOT_TEXTS, *BAD_IDS)),
    *({"task_id": value} for value in (*NOT_TEXTS, "\ud800", f"{TASK}/")),
    *({"operation_log_id": TASK, "project_id": value} for value in (*NOT_TEXTS, *BAD_IDS, f"{PROJECT}\n", "F" * 31)),
    *({"operation_log_id": TASK, "region": value} for value in (*NOT_TEXTS, MARK, "", "\ud800", "eu-de.example.org")),
    {"operation_log_id": TASK, "task_id": str(uuid4())},
    *({"events": value} for value in (None, *NOT_TEXTS, MARK, [None], [GOOD["note"]], GOOD, [{"events": []}])),
    *({"message": value, "subscription": MARK} for value in (None, *NOT_TEXTS, MARK)),
    *({"message": {"data": value}, "subscription": MARK} for value in (None, *NOT_TEXTS, MARK, "", "e30", "{}")),
    *({"message": {"data": packed(value)}, "subscription": MARK} for value in (None, *NOT_TEXTS, MARK)),
    {"message": {"data": base64.b64encode(f"{{{MARK}".encode()).decode()}, "subscription": MARK},
    {"message": {"data": base64.b64encode(b"\xff\xfe").decode()}, "subscription": MARK},
    *({**CE, "data": value} for value in (None, *NOT_TEXTS, MARK, "", "{", json.dumps(MARK))),
    *({**CE, "data_base64": value} for value in (*NOT_TEXTS, MARK, "", packed(MARK))),
    *({**CE, name: value, "data": GOOD} for name in CE for value in (None, *NOT_TEXTS, "")),
    *({"sweep": value} for value in (*NOT_TEXTS[:7], MARK, {"a": MARK})),
    *({"sweep": {name: value}} for name in ("at", "period", "lag") for value in (MARK, "-1s", *NOT_TEXTS[1:])),
    *({"sweep": {"project_id": value}} for value in (*NOT_TEXTS, *BAD_IDS[:6])),
    *({"cts": value} for value in (None, *NOT_TEXTS, MARK, {"trace_name": 7}, {"trace_name": None, "a": MARK})),
    {"cts": {"service_type": "CBR", "trace_name": "createVaultBackup", "resource_id": MARK}},
    {"namespace": "SYS.CBR", "metric_name": MARK, "alarm_status": "alarm"},
    {"namespace": "SYS.CBR", "metric_name": "backupFailed", "dimension": f"instance_id:{MARK}"},
    {"record": [{"smn": {"message": json.dumps(GOOD)}}]},
    {"trigger_type": "KAFKA", "records": [{"messages": [json.dumps(GOOD)]}]},
    {"lts": {"data": packed(GOOD)}},
)


def malformed() -> Iterator[tuple[str, bytes]]:
    whole = json.dumps(GOOD, ensure_ascii=False).encode()
    yield from ((f"cut at {end}", whole[:end]) for end in range(1, len(whole)))
    yield from ((f"text {at}", text.encode()) for at, text in enumerate(TEXTS_THAT_ARE_NO_JSON))
    yield from ((f"value {at}", json.dumps(value).encode()) for at, value in enumerate(VALUES_THAT_NAME_NO_TASK))
    for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1"):
        yield encoding, json.dumps(GOOD, ensure_ascii=False).replace("🔔", "ü").encode(encoding)
    yield "half a pair in UTF-8", whole.replace("🔔".encode(), b"\xed\xa0\x80")
    yield "overlong", whole.replace("🔔".encode(), b"\xc0\xaf")
    yield "NUL bytes", b"\x00" * 100
    yield "packed", b"\x1f\x8b\x08\x00" + bytes(range(256))
    for opening in ("[", '{"a":', '{"events":[', '{"operation_log_id":['):
        for depth in (90, 900, 1_000, 100_000 // len(opening)):
            yield f"{opening} {depth} times", (opening * depth).encode()
    for opening, closing in (("[", "]"), ('{"a":', "}"), ('{"events":[', "]}")):
        for depth in (5, 60, 300, 900, 990, 10_000):
            nested = opening * depth + json.dumps(MARK) + closing * depth
            alarm = f'{{"event_source": "SYS.CBR", "a": {nested}}}'
            yield f"{opening} nested {depth} times", nested.encode()
            yield f"{opening} nested {depth} times in an alarm", alarm.encode()
    yield "a long text", json.dumps(MARK * 90_000).encode()
    yield "a long number", b"1" * 1_000_000
    yield "a long key", json.dumps({MARK * 90_000: 1}).encode()
    yield "many keys", json.dumps({f"{MARK}{number}": number for number in range(30_000)}).encode()


MALFORMED = dict(malformed())


def test_the_table_of_malformed_events_is_as_long_as_it_is_meant_to_be() -> None:
    assert len(set(MALFORMED.values())) >= 318


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_event_is_refused_without_a_word_of_it(world: World, session: requests.Session, name: str) -> None:
    looked = sum(world.cloud.counts.values())
    answer = session.post(f"{world.function.url}/", data=MALFORMED[name], timeout=20)
    assert answer.status_code in (400, 403)
    error = answer.json()["error"]
    assert error["code"]
    assert error["message"]
    assert len(answer.content) <= 1_000
    assert MARK not in answer.text
    assert TASK not in answer.text
    assert sum(world.cloud.counts.values()) == looked
    last = world.function.log.splitlines()[-1]
    assert MARK not in last
    assert json.loads(last)["status"] == answer.status_code


def test_after_all_of_that_it_still_rings(world: World) -> None:
    assert world.tell("failed").status == 200


# Hostile names

BIDI = "".join(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C))
HOSTILE = {
    "line breaks": "ECS\r\nBcc: victim@example.org\r\nX-Injected: 1\r\n\r\nbody",
    "bare line feeds": "ECS\nBcc: victim@example.org\n\nbody\n.\nQUIT",
    "odd line breaks": "ECS\x0bBcc: a\x0cX: b\x1c\x1d\x1e\x85\u2028\u2029end",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><a href='javascript:1'>&lt;b&gt;</td></table>",
    "encoded words": "=?utf-8?q?=0d=0aBcc:_victim@example.org?= =?us-ascii?b?PGI+?=",
    "long": "W" * 65_536,
    "long without blanks": "🔔" * 16_384,
    "half a pair": "ECS \ud800 \udfff \udc00\ud800",
    "bidi": f"invoice{BIDI}gpj.exe",
    "control": "".join(chr(code) for code in range(32)) + "\x7f\x9b31m\x1b[2J\x1b]0;title\x07",
    "templates": "{{ 7*7 }}{% raw %}${jndi:ldap://example.org/a}%s%n%(x)s{0.__class__}$(id)`id`",
    "blanks": "   \t  ",
    "combining": "e" + "\u0301" * 5_000,
    "separators": "a;b,c|d\\e/f@g <x@example.org>, y@example.org: z;",
}
TYPES = ("backup", "restore", "replication", "remove_resource", "hostile")


def hostile_log(kind: str, log: Any, text: str) -> Any:  # noqa: ANN401 - JSON
    """The log with this text in each of its texts that is no id, time or status of the task itself."""
    kept = {"id", "project_id", "status", "operation_type", "created_at", "started_at", "ended_at", "updated_at"}

    def filled(value: Any) -> Any:  # noqa: ANN401 - JSON
        match value:
            case dict():
                return {name: filled(item) for name, item in value.items()}
            case list():
                return [filled(item) for item in value]
            case str():
                return text
        return value

    changed = {name: value if name in kept else filled(value) for name, value in log.items()}
    return changed | {"operation_type": text if kind == "hostile" else kind}


class Tags(HTMLParser):
    """The tags of a page, and the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, *sorted(name for name, _ in attrs)))


def one_line(text: str) -> bool:
    """Whether it has no control character, line break or direction mark, nor half a pair."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI for letter in text)


def part(mail: Mail, kind: str) -> str:
    found = mail.message.get_body((kind,))
    assert found is not None
    content: str = found.get_content()
    return content


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_told_harmlessly(world: World, mail: Mailbox, harmless: tuple[Got, Mail], name: str) -> None:
    told, mailed = len(world.receiver.requests), len(mail.messages)
    tasks = []
    for kind in TYPES:
        log = world.cloud.outcome("failed", operation_type=kind)
        tasks.append(world.cloud.add(**hostile_log(kind, log, HOSTILE[name]) | {"id": str(uuid4())}))
    answer = world.function.post({"events": [world.event(task) for task in tasks]})
    assert answer.status_code == 200
    assert [line["action"] for line in answer.json()["results"]] == ["notified"] * len(TYPES)

    rung = world.receiver.requests[told:]
    assert len(rung) == len(TYPES)
    for got in rung:
        assert set(got.headers) == set(harmless[0].headers)
        data = Webhook(SECRET).verify(got.body, dict(got.headers))["data"]
        assert one_line(data["summary"])
        assert one_line(data["reason"])
        assert len(data["summary"]) <= 2_000
        assert data["operation_log"]["id"] in {task["id"] for task in tasks}

    mails = mail.messages[mailed:]
    assert len(mails) == len(TYPES)
    for taken in mails:
        assert sorted(taken.message.keys()) == sorted(harmless[1].message.keys())
        assert (taken.recipients, taken.message["To"]) == (("ops@example.org",), "ops@example.org")
        assert one_line(str(taken.message["Subject"]))
        assert max(map(len, taken.raw.split(b"\r\n"))) <= 998
        assert Tags(part(taken, "html")).found <= Tags(part(harmless[1], "html")).found
        for text in (part(taken, "plain"), part(taken, "html")):
            assert all(one_line(line) for line in text.splitlines())


# Logs of odd types

ODD: dict[str, Any] = {
    "absent": ...,
    "null": None,
    "number": 7,
    "huge": -(10**40),
    "truth": True,
    "text": "odd",
    "blank": " ",
    "list": [[{"a": [None]}], 1],
    "object": {"id": {"id": []}, "code": 1, "message": [1]},
    "JSON as text": '{"id": "x", "fail_count": ',
}
OURS = {("id",), ("project_id",)}  # another text here is an answer about another task: a fault


def paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401 - JSON
    """The way to everything that stands in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*above, key)
        yield from paths(item, (*above, key))


def changed(log: Any, path: tuple[str | int, ...], value: object) -> Any:  # noqa: ANN401 - JSON
    """The log with another value at the end of this path."""
    copied = copy.deepcopy(log)
    place = copied
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copied


@pytest.mark.parametrize("odd", ODD)
def test_a_log_with_any_field_of_an_odd_type_still_rings(unmailed: World, session: requests.Session, odd: str) -> None:
    world = unmailed
    kinds = [world.cloud.outcome("failed", operation_type=kind) for kind in FAILURES]
    logs = [*kinds, world.cloud.outcome("partial"), world.cloud.outcome("overdue")]
    quiet = []
    seen: set[tuple[str | int, ...]] = set()
    for log in logs:
        for path in paths(log):
            if path in seen or (path in OURS and isinstance(ODD[odd], str) and ODD[odd].strip()):
                continue
            seen.add(path)
            world.cloud.fault("show", "status", status=200, body={"operation_log": changed(log, path, ODD[odd])})
            told = len(world.receiver.requests)
            answer = session.post(f"{world.function.url}/", json=world.event(log), timeout=20)
            line = answer.json()["results"][0]
            if (answer.status_code, line["action"], len(world.receiver.requests)) != (200, "notified", told + 1):
                quiet.append((path, answer.status_code, line))
    assert quiet == []
    assert len(seen) > 50


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_log_of_nothing_but_its_status_has_its_outcome(unmailed: World, name: str) -> None:
    world = unmailed
    task = world.cloud.outcome("failed")
    _, status, _ = OUTCOMES[name]
    world.cloud.fault("show", "status", status=200, body={"operation_log": {"status": status}})
    line = world.named(task).line
    known = {"partial": "succeeded", "overdue": "running"}  # what makes them so is not there
    assert line["outcome"] == known.get(name, name)
    assert line["operation_log_id"] == task["id"]
