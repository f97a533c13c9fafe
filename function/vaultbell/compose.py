"""The one place where settings become objects. Nothing is opened: pools, tokens and TLS contexts come when used."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from vaultbell import observability, standard_webhooks, telemetry
from vaultbell import settings as settings_
from vaultbell.bell import Bell
from vaultbell.budget import Budget
from vaultbell.channels import Channel, formats
from vaultbell.channels.formats.post import Options
from vaultbell.channels.webhook import Webhook
from vaultbell.cloud.cbr import Cbr
from vaultbell.cloud.credentials import AccessKey, Credentials, GivenToken, NoCredentials, Password
from vaultbell.cloud.endpoints import Endpoints
from vaultbell.cloud.signing import KeyPair
from vaultbell.cloud.smn_trust import SmnTrust
from vaultbell.errors import Misconfigured, Permanent, Transient
from vaultbell.inbound import Doorkeeper, Project
from vaultbell.seen import Pace
from vaultbell.seen_store import Store, ToldOnce
from vaultbell.settings import EXPIRES, AppriseChannel, EmailChannel, Settings, WebhookChannel
from vaultbell.transport import Transport

HEARTBEAT_SECONDS = 5.0
HISTORY_BURST, HISTORY_A_SECOND = 1_000, 10  # lists that a process asks for the past: a storm must not double the load


class App(NamedTuple):
    """Everything that a platform needs."""

    settings: Settings
    doorkeeper: Doorkeeper
    smn: SmnTrust
    bell: Bell


def app(settings: Settings) -> App:
    """The function that these settings describe."""
    start(settings)
    doorkeeper = Doorkeeper(
        _text(settings.inbound_token),
        [secret.get_secret_value() for secret in settings.inbound_secrets],
    )
    if doorkeeper.is_open:
        telemetry.log(logging.WARNING, "the door is open: neither VAULTBELL_INBOUND_TOKEN nor _SECRET is set")
    smn = SmnTrust(settings.smn_topics, Transport(allow_private=False, name="VAULTBELL_SMN_TOPICS"))
    return App(settings, doorkeeper, smn, bell(settings))


def start(settings: Settings) -> None:
    """Begin the log with what was set, without secrets. The process will leave no core dump: it would hold them all."""
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    telemetry.start(settings.log_level, observability.formatter(settings.log_format))
    observability.subscribe(settings.channels)
    telemetry.log(logging.INFO, "started", settings=settings_.summary(settings))
    if any((url or "").lower().startswith("http:") for url in (settings.cloud.auth_url, settings.cloud.endpoint)):
        told = "OS_AUTH_URL or CBR_ENDPOINT is not https: whoever sits on the way can read what proves us to the cloud"
        telemetry.log(logging.WARNING, told)


def bell(settings: Settings) -> Bell:
    """What handles events under these settings."""
    cloud = settings.cloud
    http = Transport(guarded=False)
    endpoints = Endpoints(cloud.region, cloud.auth_url, cloud.endpoint)
    credentials = _credentials(settings, http, endpoints)
    return Bell(
        cbr=Cbr(http, endpoints, credentials),
        projects=_Projects(settings, credentials),
        rules=settings.outcomes,
        sweeps=settings.sweep,
        routes=settings.routes,
        channels=channels(settings),
        leave_unfinished=settings.unfinished == "leave",
        digest_over={
            name: channel.digest_over or settings.digest_over
            for name, channel in settings.channels.items()
            if channel.digests
        },
        reply_events=settings.reply_events,
        resolving=frozenset(name for name, channel in settings.channels.items() if channel.resolve),
        incidents=frozenset(name for name, channel in settings.channels.items() if channel.incident),
        # where a route asks for the past, what is not known would ring too often
        history=Pace(math.inf if settings.matches_past else HISTORY_BURST, HISTORY_A_SECOND)
        if settings.history
        else None,
        watch=settings.watch,
        roll_call=frozenset(name for name, channel in settings.channels.items() if channel.roll_call),
        roll_period=settings.roll_call,
        heartbeat=_heartbeat(settings),
    )


def channels(settings: Settings) -> dict[str, Channel]:
    """Every channel by its name. Those that go out the same way share one pool."""

    @cache
    def transport(ca_file: str | None, proxy: str | None, allow_private: bool) -> Transport:
        return Transport(ca_file=ca_file, proxy=proxy, allow_private=allow_private)

    zone = ZoneInfo(settings.tz) if settings.tz else None

    def made(name: str, channel: settings_.Channel) -> Channel:
        if isinstance(channel, AppriseChannel):
            from vaultbell.channels.apprise import Apprise  # noqa: PLC0415 - few have it

            return Apprise([url.get_secret_value() for url in channel.urls], zone)
        way_out = transport(channel.ca_file, channel.proxy, channel.allow_private).named(name, allowing(name))
        match channel:
            case WebhookChannel():
                keys = [standard_webhooks.key_of(secret.get_secret_value()) for secret in channel.secrets]
                options = Options(
                    routing_key=_text(channel.routing_key) or "",
                    api_key=_text(channel.api_key) or "",
                    expires=channel.expires or EXPIRES,
                    zone=zone,
                )
                format_ = formats.of(channel.format)
                return Webhook(
                    channel.url.get_secret_value(), keys, lambda told, now: format_(told, options, now), way_out
                )
            case EmailChannel():
                from vaultbell.channels.email import Email  # noqa: PLC0415 - smtplib and email are dear at a cold start

                return Email(channel.server, channel.sender, channel.to, way_out, zone)

    ready = {name: made(name, channel) for name, channel in settings.channels.items()}
    if settings.seen_url:
        store = Store(settings.seen_url.get_secret_value())
        ready |= {
            name: ToldOnce(f"{name}:{channel.receiver}", ready[name], store)
            for name, channel in settings.channels.items()
            if not channel.refreshes
        }
    return ready


def allowing(name: str) -> str:
    """The setting that would let a channel of this name reach private addresses."""
    # a channel of this name is the environment's, or it may be the file's
    return "VAULTBELL_ALLOW_PRIVATE or allow_private" if name == "webhook" else "allow_private"


def _heartbeat(settings: Settings) -> Callable[[Budget], None]:
    """A sign of life for a dead-man's switch. That it could not be given is logged and costs nothing."""
    if settings.heartbeat_url is None:
        return lambda _budget: None
    url, transport = settings.heartbeat_url.get_secret_value(), Transport(name="VAULTBELL_HEARTBEAT_URL")

    def beat(budget: Budget) -> None:
        try:
            answer = transport.send("GET", url, headers={}, budget=budget.capped(HEARTBEAT_SECONDS))
        except (Transient, Permanent) as error:
            telemetry.log(logging.WARNING, "no heartbeat", error=error.message)
        else:
            if not 200 <= answer.status < 300:
                telemetry.log(logging.WARNING, "no heartbeat", status=answer.status)

    return beat


def _credentials(settings: Settings, http: Transport, endpoints: Endpoints) -> Credentials:
    """The first of the design's list that the settings have; the platform's own come with each event."""
    cloud = settings.cloud
    if cloud.token:
        return GivenToken(cloud.token.get_secret_value())
    if cloud.access_key and cloud.secret_key:
        keys = KeyPair(_text(cloud.access_key) or "", _text(cloud.secret_key) or "", _text(cloud.security_token))
        return AccessKey(keys)
    if cloud.username and cloud.password and cloud.user_domain_name:
        return Password(
            http,
            endpoints,
            user=cloud.username,
            password=cloud.password.get_secret_value(),
            domain=cloud.user_domain_name,
        )
    return NoCredentials()


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


class _Projects:
    """The projects of the settings; where they only name one, IAM is asked for its id, once."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._known = tuple(Project(project.project_id, project.region) for project in settings.projects)
        self._name = settings.cloud.project_name
        self._credentials = credentials

    @property
    def known(self) -> Sequence[Project]:
        return self._known

    def all(self, budget: Budget) -> Sequence[Project]:
        if not self._known and self._name:
            if not isinstance(self._credentials, Password):
                raise Misconfigured("OS_PROJECT_NAME needs OS_USERNAME: set OS_PROJECT_ID", cause="settings")
            self._known = (Project(self._credentials.project_id_of(self._name, budget)),)
        return self._known
