"""Write what would be sent of an event, or of a saved operation log, in any format. Nobody is told.

To the standard output goes the body as it would be sent, byte for byte; of a mail its text, its HTML, or all of it
(eml). Keys of receivers, which are secrets, are left out; on a terminal, what could act on it is escaped. Where several
messages would be sent, all of them are written, one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from vaultbell import digest, notification, settings
from vaultbell.channels import apprise, email, formats
from vaultbell.channels.formats.post import Options
from vaultbell.cli import saved
from vaultbell.cli.terminal import inert
from vaultbell.errors import SettingsError
from vaultbell.notification import Notification
from vaultbell.outcome import classify
from vaultbell.past import tempered
from vaultbell.report import Object
from vaultbell.settings import EXPIRES, AppriseChannel, EmailChannel, Settings, WebhookChannel
from vaultbell.text import one_line

MAIL = {"text": "text/plain", "html": "text/html", "eml": "message/rfc822"}
FORMATS = (*formats.FORMATS, *MAIL, "apprise")
KEY = "KEY-LEFT-OUT"
FROM, TO = "vaultbell@example.org", ("ops@example.org",)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    saved.event_argument(parser, nargs="?")
    saved.log_argument(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--format",
        metavar="FORMAT",
        choices=FORMATS,
        default="default",
        help=f"{', '.join(FORMATS)}",
    )
    how.add_argument("--channel", metavar="NAME", help="what this channel of the settings would be sent")
    parser.add_argument("--digest", action="store_true", help="the one message that stands for all of them")
    parser.add_argument("--json", action="store_true", help="print each body beside its content type, headers and path")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """0: it is written; 1: there is nothing that could be told; 3: something could not be found out."""
    if not (options.event or options.log):
        raise SettingsError("either EVENT_FILE or --log is wanted")
    found = settings.load(environ, tells=False, looks=not options.log)
    status = 0
    if options.event:
        judged = saved.judged(environ, options.event, options.log)
        messages = _of_event(judged)
        status = max((3 for line in judged.lines if line.result.error and line.result.status in (500, 503)), default=0)
    else:
        messages = _of_logs(saved.logs_in(options.log), found)
    if not messages:
        return status or 1
    if options.digest:
        messages = [digest.of(messages)]
    bodies = list(map(_writer(options, found), messages))
    if options.json:
        print(json.dumps([body.as_json() for body in bodies], indent=2))
        return status
    if sys.stdout.isatty():
        print(*(inert(body.content.decode()) for body in bodies), sep="\n\n")
    else:
        sys.stdout.buffer.write(b"\n".join(body.content for body in bodies))
    return status


def _of_event(found: saved.Judged) -> list[Notification]:
    """What would be told; where nothing would be, what could be."""
    for line in found.lines:
        if line.found is None and line.result.error:
            print(f"vaultbell: {one_line(line.result.error[1])}", file=sys.stderr)
    rings = [ring.told for line in found.lines for ring in line.rings]
    if not rings:
        rings = [line.found for line in found.lines if line.found]
        if rings and found.bell.channels:
            print("vaultbell: nobody would be told of this", file=sys.stderr)
    return list({told.id: told for told in rings}.values())


def _of_logs(found: saved.Saved, set_: Settings) -> list[Notification]:
    """The messages about tasks that the API has shown before."""
    now = found.at or datetime.now(UTC)
    only = set_.projects[0].project_id if len(set_.projects) == 1 else saved.NO_PROJECT
    return [
        notification.of_task(
            log,
            tempered(classify(log, set_.outcomes, now), found.past),
            set_.outcomes,
            project_id=log.project_id or found.project_id or only,
            region=found.region or set_.cloud.region,
            past=found.past,
        )
        for log in found.logs
    ]


@dataclass(frozen=True, slots=True)
class _Body:
    """What would be sent. `headers` are those that the format adds, `path` what follows the channel's address."""

    content: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    def as_json(self) -> Object:
        text = self.content.decode()
        return {"content_type": self.content_type, "headers": {**self.headers}, "path": self.path, "body": text}


def _writer(options: argparse.Namespace, set_: Settings) -> Callable[[Notification], _Body]:
    zone = ZoneInfo(set_.tz) if set_.tz else None
    if not options.channel:
        return _in_format(options.format, Options(KEY, KEY, EXPIRES, zone))
    match set_.channels.get(options.channel):
        case WebhookChannel() as channel:
            return _in_format(channel.format, Options(KEY, KEY, channel.expires or EXPIRES, zone))
        case EmailChannel() as channel:
            return lambda told: _mail("eml", told, zone, channel.sender, channel.to)
        case AppriseChannel():
            return _in_format("apprise", Options(zone=zone))
    raise SettingsError(f"there is no channel {one_line(options.channel, 64)}; there is {', '.join(set_.channels)}")


def _in_format(name: str, options: Options) -> Callable[[Notification], _Body]:
    if name in MAIL:
        return lambda told: _mail(name, told, options.zone, FROM, TO)
    if name == "apprise":
        return lambda told: _Body("\n\n".join(apprise.text(told, options.zone)).encode(), "text/plain")
    make = formats.of(name)

    def write(told: Notification) -> _Body:
        post = make(told, options, datetime.now(UTC))
        return _Body(post.body, post.content_type, post.headers, post.path)

    return write


def _mail(part: str, told: Notification, zone: tzinfo | None, sender: str, recipients: Sequence[str]) -> _Body:
    message = email.compose(told, sender, recipients, zone)
    found = message.get_body(({"text": "plain"}.get(part, part),)) if part != "eml" else None
    content = message.as_bytes() if found is None else found.get_content().encode()
    return _Body(content, MAIL[part])
