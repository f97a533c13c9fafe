"""See it ring: the function between a stand-in cloud, a webhook receiver and a mail server, all on loopback.

Each sample of `events/` that fits the HTTP door is posted to the function under its production server. What it
answered, and what then arrived where, is printed beside what was expected (`ROWS`); the exit status is 1 where the
two differ. The HTML of the mails is left in `build/demo/`.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

from requests import Response

import samples
from serving import Running, serving
from standin import Cloud, serve
from standin.logs import seed_demo
from standin.sinks import Mailbox, Receiver

MAILS = Path(__file__).parents[1] / "build" / "demo"
SECRET = "whsec_" + "ZGVtby1zZWNyZXQtZGVtby1zZWNyZXQtZGVtbw=="
TOKEN = "demo-token"


class Row(NamedTuple):
    """A sample, and what is expected of it: the answer, the outcomes, and how many notifications each channel gets."""

    event: str
    answer: str
    outcome: str
    rings: int = 0
    how: str = ""  # "no token": it comes without; "refused": the cloud refuses us meanwhile


# fmt: off
ROWS = (
    Row("outcomes/succeeded.json",           "200",                   "succeeded"),
    Row("outcomes/partial.json",             "200",                   "partial",            1),
    Row("outcomes/skipped.json",             "200",                   "skipped",            1),
    Row("outcomes/failed.json",              "200",                   "failed",             1),
    Row("outcomes/timed_out.json",           "200",                   "timed_out",          1),
    Row("outcomes/running.json",             "503, again in 120 s",   "running"),
    Row("outcomes/overdue.json",             "200",                   "overdue",            1),
    Row("outcomes/unknown.json",             "200",                   "unknown",            1),
    Row("outcomes/missing.json",             "200",                   "missing",            1),
    Row("outcomes/unverified.json",          "500, misconfigured",     "unverified",         1, "refused"),
    Row("plain.json",                        "200",                   "failed",             1),
    Row("plain-task-id.json",                "200",                   "timed_out",          1),
    Row("plain-list.json",                   "200",                   "succeeded, overdue", 1),
    Row("cloudevent-structured.http.json",   "204",                   "failed",             1),
    Row("cloudevent-binary.http.json",       "204",                   "timed_out",          1),
    Row("cloudevent-batch.http.json",        "204",                   "partial, failed",    2),
    Row("pubsub.json",                       "200",                   "failed",             1),
    Row("ces-alarm.json",                    "200",                   "failed",             1),
    Row("ces-alarm-unreadable.json",         "400, unreadable_alarm",  "unverified",         1),
    Row("cts-trace.json",                    "200",                   "failed",             1),
    Row("sweep.json",                        "200",                   "failed",             1),
    Row("smn-notification.http.json",        "403, topic_not_allowed", "-"),
    Row("smn-confirmation.http.json",        "403, topic_not_allowed", "-"),
    Row("smn-unsubscribed.http.json",        "403, topic_not_allowed", "-"),
    Row("plain.json",                        "401, unauthenticated",   "-",                  0, "no token"),
)
# fmt: on
HEADINGS = ("event", "answer", "outcome", "signed webhook", "mail")
WIDTHS = (33, 22, 18, 14, 4)
COLUMNS = 100


def main(rows: Sequence[Row] = ROWS, receivers_secret: str = SECRET, mails: Path = MAILS) -> int:
    """Print the table, and return the exit status."""
    print("Starting a stand-in cloud, a webhook receiver, a mail server, and the function.\n", flush=True)
    with _world(receivers_secret) as world:
        print(_line(HEADINGS))
        print(_line(["-" * width for width in WIDTHS]), flush=True)
        wrong = [row for row in rows if not _as_expected(world, row)]
    told_apart = _repeats_are_told_apart(world)
    _keep([mail.message for mail in world.mailbox.messages], mails)
    if wrong:
        print(f"\n{len(wrong)} of {len(rows)} rows are not as expected.")
    return 0 if told_apart and not wrong else 1


@dataclass(frozen=True, slots=True)
class World:
    """All that takes part; `secret` is what the webhook's receiver verifies with."""

    cloud: Cloud
    receiver: Receiver
    mailbox: Mailbox
    function: Running
    secret: str


@contextmanager
def _world(receivers_secret: str) -> Iterator[World]:
    cloud = Cloud()
    with serve(cloud), Receiver() as receiver, Mailbox() as mailbox:
        settings = cloud.env() | {
            "VAULTBELL_WEBHOOK_URL": f"{receiver.url}/bell",
            "VAULTBELL_WEBHOOK_SECRET": SECRET,
            "VAULTBELL_EMAIL_FROM": "Vaultbell <bell@example.org>",
            "VAULTBELL_EMAIL_TO": "ops@example.org",
            "VAULTBELL_SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}?tls=off",
            "VAULTBELL_INBOUND_TOKEN": TOKEN,
        }
        with serving(settings) as function:
            seed_demo(cloud)
            _seed_hinted(cloud)
            yield World(cloud, receiver, mailbox, function, receivers_secret)


def _seed_hinted(cloud: Cloud) -> None:
    """The tasks that are found without being named: the one that the alarm and the trace mean, and one to sweep up."""
    trace = samples.value("cts-trace.json")
    asked = datetime.fromtimestamp(trace["time"] / 1000, UTC)
    resource = samples.value("ces-alarm.json")["template_variable"]
    server = {"resource_id": resource["ResourceId"], "resource_name": resource["ResourceName"]}
    task = "00000000-0000-4000-8000-0000000000"
    cloud.outcome("failed", id=f"{task}ce", created_at=asked + timedelta(seconds=3), **server)
    # in the middle of the window that ends now, or of the one before it, which a tick just after its end covers too
    period, lag = timedelta(minutes=15), timedelta(minutes=5)
    since = (datetime.now(UTC) - lag).timestamp()
    middle = datetime.fromtimestamp(since - since % period.total_seconds(), UTC) - period / 2
    cloud.outcome("failed", id=f"{task}5e", ended_at=middle)


def _as_expected(world: World, row: Row) -> bool:
    """Post the sample, print what came of it, and say whether that is what the row expects."""
    lines, rung, mailed = len(world.function.logged()), len(world.receiver.requests), len(world.mailbox.messages)
    answer = _posted(world, row)
    results = world.function.logged()[lines:]
    verdicts = world.receiver.verify(world.secret)[rung:]
    seen = (
        _answered(answer),
        ", ".join(result.get("outcome", "-") for result in results) or "-",
        f"{len(verdicts)} {'verified' if all(verdicts) else 'FORGED'}" if verdicts else "-",
        str(len(world.mailbox.messages) - mailed or "-"),
    )
    wanted = (row.answer, row.outcome, f"{row.rings} verified" if row.rings else "-", str(row.rings or "-"))
    print(_line((f"{row.event}, {row.how}" if row.how else row.event, *seen)), flush=True)
    if seen != wanted:
        print(_line(("    was expected:", *wanted)), flush=True)
    return seen == wanted


def _posted(world: World, row: Row) -> Response:
    """The answer to the sample."""
    sample = samples.read(row.event)
    headers = dict(sample.headers) | ({} if row.how == "no token" else {"Authorization": f"Bearer {TOKEN}"})
    if row.how == "refused":
        world.cloud.fault("show", "status", None, status=401, body=samples.value("operation-logs/unverified.json"))
    answer = world.function.post(data=sample.body, headers=headers)
    world.cloud.heal()
    return answer


def _answered(answer: Response) -> str:
    """The status, and the word for machines or the time to come again."""
    words = [str(answer.status_code)]
    if again := answer.headers.get("Retry-After"):
        words.append(f"again in {again} s")
    if answer.status_code >= 400 and (error := answer.json().get("error")):
        words.append(error["code"])
    return ", ".join(words)


def _repeats_are_told_apart(world: World) -> bool:
    """Whether what is told again has the id of the first time, and all else one of its own."""
    requests = world.receiver.requests
    ids = {got.headers["webhook-id"] for got in requests}
    told = {(got.json["type"], got.json["data"]["operation_log"].get("id")) for got in requests}
    print(f"\n{len(requests)} webhooks told {len(told)} things, under {len(ids)} ids: a repeat has the first one's.")
    return len(ids) == len(told)


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _keep(mails: Sequence[EmailMessage], folder: Path) -> None:
    """Leave the HTML of the first mail of each outcome in the folder, and print the text of one."""
    first = {str(mail["X-Vaultbell-Outcome"]): mail for mail in reversed(mails)}
    folder.mkdir(parents=True, exist_ok=True)
    for outcome, mail in first.items():
        (folder / f"{outcome}.html").write_text(_part(mail, "html"), "utf-8")
    if shown := first.get("failed"):
        print(f"\nOne of the mails, as text; its HTML is in {os.path.relpath(folder / 'failed.html')}:\n")
        print(f"    Subject: {shown['Subject']}\n")
        for line in _part(shown, "plain").splitlines():
            print(textwrap.fill(line, COLUMNS, initial_indent="    ", subsequent_indent="        ") if line else "")


def _part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    return str(body.get_content()) if isinstance(body, EmailMessage) else ""


if __name__ == "__main__":
    sys.exit(main())
