"""Models of every setting, and `load`, which reads them from the environment and the files that it names.

All mistakes are told at once, each with the place where it stands (file, line and key, or variable), and none with
the value that stands there: it may be a secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vaultbell import conditions, values
from vaultbell.raw_settings import Object, Path, RawSettings, host_of, shown
from vaultbell.values import Count, Duration, Endpoint, Secrets, Text, Token, WebUrl, one_of, that

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

# The formats of a webhook, and the settings that are for one of them alone.
OWN_FORMATS, CHAT_FORMATS = ("default", "cloudevent"), ("slack", "teams", "discord")
INCIDENT_FORMATS = ("alertmanager", "pagerduty", "opsgenie")
FORMATS = (*OWN_FORMATS, *INCIDENT_FORMATS, *CHAT_FORMATS)
BELONGS = {"routing_key": "pagerduty", "api_key": "opsgenie", "expires": "alertmanager"}
ADDRESSES = {
    "pagerduty": "https://events.pagerduty.com/v2/enqueue",
    "opsgenie": "https://api.opsgenie.com/v2/alerts",
}
EXPIRES = timedelta(days=7)
SEVERITIES = {
    **dict.fromkeys(("failed", "timed_out", "overdue", "stale", "unverified"), "critical"),
    **dict.fromkeys(("partial", "skipped", "unknown", "missing"), "warning"),
    **dict.fromkeys(("succeeded", "running"), "info"),
}
LEVELS = tuple(dict.fromkeys(SEVERITIES.values()))
DEADLINE = timedelta(hours=24)
MATCHED = (
    *("outcome", "severity", "operation_type", "project_id", "region", "vault_id", "vault_name"),
    *("resource_id", "resource_name", "resource_type", "policy_id", "error_code"),
    *conditions.FIELDS,
)

OutcomeWord = Annotated[str, one_of(*SEVERITIES)]
SeverityWord = Annotated[str, one_of(*LEVELS)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Channel(_Model):
    resolve: bool = False
    roll_call: bool = False
    digest_over: Count | None = None

    @property
    def receiver(self) -> str:
        """Who hears it here, as a hash: the address and whatever else tells one receiver from another."""
        told = (type(self).__name__, *_secrets_in(self), *getattr(self, "to", ()))
        return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]

    @property
    def digests(self) -> bool:
        """Whether many notifications become one message here."""
        return True

    @property
    def refreshes(self) -> bool:
        """Whether a repeat tells the receiver something, so that it is told whenever it comes."""
        return False

    @property
    def incident(self) -> bool:
        """Whether what is told here opens an incident, which somebody has to see to."""
        return False


class _OwnWayOut(_Channel):
    allow_private: bool = True
    ca_file: Annotated[str, that(values.readable)] | None = None


class WebhookChannel(_OwnWayOut):
    """A POST to an address, which is a secret beyond its host. `secrets` sign, each of them.

    `format` picks the body; `routing_key`, `api_key` and `expires` belong to one format each.
    """

    type: Literal["webhook"]
    format: Annotated[str, one_of(*FORMATS)] = "default"
    url: WebUrl
    secrets: Secrets = ()
    routing_key: Annotated[Token | None, Field(validate_default=True)] = None
    api_key: Annotated[Token | None, Field(validate_default=True)] = None
    expires: Duration | None = None
    digest: bool | None = None
    proxy_url: WebUrl | None = Field(default=None, alias="proxy")

    @property
    def proxy(self) -> str | None:
        """The proxy's address."""
        return self.proxy_url.get_secret_value() if self.proxy_url else None

    @property
    def digests(self) -> bool:
        """An incident is one alert, always; what programs read is digested only where that was asked for."""
        return self.format in CHAT_FORMATS if self.digest is None else self.digest

    @property
    def refreshes(self) -> bool:
        """Alertmanager forgets at a restart what it was told, and ends it in time: a repeat keeps it up.

        Nobody hears of it twice: the same labels are the same alert.
        """
        return self.format == "alertmanager"

    @property
    def incident(self) -> bool:
        """The pagers."""
        return self.format in INCIDENT_FORMATS

    @model_validator(mode="before")
    @classmethod
    def _known_address(cls, given: object) -> object:
        """The receiver's own address, where it has one and no other is given."""
        format_ = given.get("format") if isinstance(given, dict) else None
        known = ADDRESSES.get(format_) if isinstance(format_, str) else None
        return {"url": known, **given} if known and isinstance(given, dict) else given

    @field_validator("url")
    @classmethod
    def _can_be_followed(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("format") == "opsgenie" and {"?", "#"} & set(url.get_secret_value()):
            raise ValueError("an address without ? and # is wanted: an alert's own path follows it")
        return url

    @field_validator(*BELONGS)
    @classmethod
    def _is_the_formats(cls, value: T, info: ValidationInfo) -> T:
        wanted, format_ = BELONGS[info.field_name or ""], info.data.get("format", "")
        if not format_:  # it is a mistake itself
            return value
        if value is None and format_ == wanted:
            raise ValueError(f"is missing: {wanted} takes nothing without it")
        if value is not None and format_ != wanted:
            raise ValueError(f"belongs to format: {wanted}")
        return value

    @field_validator("digest")
    @classmethod
    def _can_be_digested(cls, digest: bool | None, info: ValidationInfo) -> bool | None:
        if digest and info.data.get("format") in INCIDENT_FORMATS:
            raise ValueError("an incident is never part of a digest")
        return digest


class EmailChannel(_OwnWayOut):
    """Mail to one or several addresses."""

    type: Literal["email"]
    smtp: Annotated[SecretStr, that(values.SmtpServer.of)]
    sender: values.MailAddress = Field(alias="from")
    to: Annotated[tuple[values.MailAddress, ...], values.parted(","), Field(min_length=1)]
    proxy: ClassVar[None] = None  # mail knows none

    @property
    def server(self) -> values.SmtpServer:
        """The parsed address."""
        return values.SmtpServer.of(self.smtp.get_secret_value())


class AppriseChannel(_Channel):
    """Any service that Apprise knows, by one of its addresses or several, which are secrets from end to end.

    Its requests are its own: neither `allow_private` nor `ca_file` nor `proxy` would bind them, so they are not known
    here. (It honours the proxies of the environment, and what its addresses say of certificates.)
    """

    type: Literal["apprise"]
    urls: Annotated[tuple[values.ServiceUrl, ...], values.LISTED, Field(min_length=1, alias="url")]

    @field_validator("type")
    @classmethod
    def _is_there(cls, type_: str) -> str:
        values.installed("apprise", "vaultbell[apprise]")
        return type_


# A further way of telling is a class like these, and its name here.
Channel = Annotated[WebhookChannel | EmailChannel | AppriseChannel, Field(discriminator="type")]
CHANNEL_TYPES = ("webhook", "email", "apprise")


class Route(_Model):
    """Which channels hear of what. Without `match` it takes everything; else each field must fit a text or glob.

    What is counted or measured (`conditions.FIELDS`) has to fit a condition instead, `>=2` say, or a plain number.
    """

    match: Annotated[dict[Annotated[str, one_of(*MATCHED)], values.Texts], Field(min_length=1)] | None = None
    channels: tuple[str, ...]
    fallback: str | None = None
    continue_: bool = Field(default=False, alias="continue")

    @property
    def patterns(self) -> Mapping[str, tuple[str, ...]]:
        """The fields that must fit, and their texts and globs."""
        return self.match or {}

    @field_validator("match", mode="before")
    @classmethod
    def _says_something(cls, value: object) -> object:
        if not value:
            raise ValueError("is empty: leave it out to match everything")
        if not isinstance(value, dict):
            return value
        numbers = {key: str(value[key]) for key in conditions.FIELDS if type(value.get(key)) is int}
        return {**value, **numbers}


class OutcomeRules(_Model):
    """What is overdue when (by operation type, and `default`), how bad each outcome is, and which are told."""

    deadlines: dict[str, Duration] = {}
    severity: dict[OutcomeWord, SeverityWord] = {}
    ring: Annotated[tuple[OutcomeWord, ...], Field(min_length=1)] = tuple(
        word for word, level in SEVERITIES.items() if level != "info"
    )
    repeat_interval: Duration = timedelta(hours=24)

    def rings(self, outcome: str) -> bool:
        """Whether this outcome is told."""
        return outcome in self.ring

    def severity_of(self, outcome: str) -> str:
        """critical, warning or info."""
        return self.severity.get(outcome) or SEVERITIES[outcome]

    def deadline_of(self, operation_type: str | None) -> timedelta:
        """How long a task of this type may run."""
        return self.deadlines.get(operation_type or "") or self.deadlines.get("default") or DEADLINE


class WatchRule(_Model):
    """The vaults of this name or id, or glob, and how old the last good backup of what is in them may be."""

    vault: Text
    max_age: Duration


class SweepRules(_Model):
    """Windows of sweeps: their length, how far behind the clock they end, how many, and how old a task may be."""

    period: Duration = timedelta(minutes=15)
    lag: Duration = timedelta(minutes=5)
    lookback: Count = 1
    history: Duration = timedelta(days=7)


class Project(_Model):
    """A project that may be looked up, and its region where it is not the default one."""

    project_id: values.ProjectId
    region: values.Region | None = None


class Cloud(_Model):
    """Where the cloud is and who we are to it, in OpenStack's names (`OS_…`)."""

    region: values.Region | None = None
    auth_url: Endpoint | None = None
    endpoint: Endpoint | None = None
    token: Token | None = None
    access_key: Token | None = None
    secret_key: Token | None = None
    security_token: Token | None = None
    username: Text | None = None
    password: SecretStr | None = None
    user_domain_name: Text | None = None
    project_id: values.ProjectId | None = None
    project_name: Text | None = None


class Settings(_Model):
    """Everything that can be set. `proxies` is what the environment says of proxies, hosts alone, for the log."""

    channels: dict[values.ChannelName, Channel]
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]
    outcomes: OutcomeRules = OutcomeRules()
    digest_over: Count = 10
    history: bool = True
    watch: Annotated[tuple[WatchRule, ...], Field(min_length=1)] = ()
    time_budget: values.Seconds = 25.0
    unfinished: Annotated[str, one_of("retry", "leave")] = "retry"
    inbound_token: Token | None = None
    inbound_secrets: Secrets = ()
    smn_topics: Annotated[tuple[values.Topic, ...], values.parted(",")] = ()
    projects: tuple[Project, ...] = ()
    platform: Annotated[str, one_of("functiongraph")] | None = None
    sweep: SweepRules = SweepRules()
    roll_call: Duration = timedelta(hours=24)
    heartbeat_url: WebUrl | None = None
    reply_events: bool = False
    seen_url: Annotated[SecretStr, that(values.redis_store)] | None = None
    tz: Annotated[str, that(values.time_zone)] | None = None
    log_level: Annotated[str, AfterValidator(str.upper), one_of("DEBUG", "INFO", "WARNING", "ERROR")] = "INFO"
    log_format: Annotated[str, one_of("json", "text")] | None = None
    cloud: Cloud = Cloud()
    proxies: dict[str, str] = {}

    @property
    def matches_past(self) -> bool:
        """Whether some route asks for what went before."""
        return any(not conditions.FIELDS.keys().isdisjoint(route.patterns) for route in self.routes)

    def known_secrets(self) -> tuple[str, ...]:
        """Every secret text, and of each address that is one also its parts beyond the host: none may ever be shown."""
        return tuple(dict.fromkeys(_secrets_in(self)))


def _secrets_in(value: object) -> Iterator[str]:
    match value:
        case SecretStr():
            yield (text := value.get_secret_value())
            with suppress(ValueError):  # a password need not be an address, though it looks like one
                parts = urlsplit(text if "://" in text else "")
                beyond = (parts.password or parts.username, parts.path.strip("/"), parts.query)
                yield from (form for part in beyond if part for form in (part, unquote(part)))
        case AppriseChannel():  # its tokens may stand where others have a host
            texts = [url.get_secret_value() for url in value.urls]
            yield from texts
            yield from (part for text in texts for part in re.split("[/:?&=@,]+", text)[1:] if part)
        case BaseModel():
            yield from _secrets_in(tuple(getattr(value, name) for name in type(value).model_fields))
        case dict():
            yield from _secrets_in(tuple(value.values()))
        case tuple():
            for item in value:
                yield from _secrets_in(item)


def summary(settings: Settings) -> Object:
    """What was set, without secrets, for the log of the start."""
    cloud = settings.cloud
    ways = {"token": cloud.token, "access key": cloud.access_key, "password": cloud.password}
    proofs = {"token": settings.inbound_token, "signature": settings.inbound_secrets}
    return {
        "channels": {name: _channel_summary(channel) for name, channel in settings.channels.items()},
        "routes": len(settings.routes),
        "projects": [project.project_id for project in settings.projects] or [cloud.project_name],
        "region": cloud.region,
        "credentials": next((way for way, given in ways.items() if given), "the platform's"),
        "door": [proof for proof, given in proofs.items() if given] or "open",
        "platform": settings.platform,
        "watch": len(settings.watch),
        "unfinished": settings.unfinished,
        "time_budget": settings.time_budget,
        "seen_store": host_of(settings.seen_url.get_secret_value()) if settings.seen_url else None,
        "proxies": settings.proxies,
    }


def _channel_summary(channel: WebhookChannel | EmailChannel | AppriseChannel) -> Object:
    told: Object = {"type": channel.type}
    if isinstance(channel, AppriseChannel):
        return told | {"services": [url.get_secret_value().partition("://")[0] for url in channel.urls]}
    told |= {"allow_private": channel.allow_private}
    if isinstance(channel, EmailChannel):
        return told | {"host": channel.server.host, "tls": channel.server.tls, "recipients": len(channel.to)}
    told |= {"host": host_of(channel.url.get_secret_value()), "format": channel.format, "signed": bool(channel.secrets)}
    return told | ({"proxy": host_of(channel.proxy)} if channel.proxy else {})


def load(environ: Mapping[str, str], *, tells: bool = True, looks: bool = True) -> Settings:
    """The settings, from the environment and the files that it names. Raises SettingsError, a line for each mistake.

    `tells`: whether somebody is to be told anything, which takes a channel; `looks`: whether anything is looked up,
    which takes a cloud.
    """
    raw = RawSettings.read(environ, tells=tells)
    if not raw.whole:
        raise raw.error()
    try:
        settings = Settings.model_validate(raw.data)
    except ValidationError as refused:
        details = refused.errors(include_url=False)
        for detail in details:
            # a list whose items are wrong is not too short besides
            inner = any(other["loc"][: len(detail["loc"])] == detail["loc"] != other["loc"] for other in details)
            if detail["type"] != "too_short" or not inner:
                raw.mistake(*_in_our_words(detail))
        raise raw.error() from None
    credentials = _credential_mistakes(settings) if looks else ()
    for path, words in (*credentials, *_route_mistakes(settings), *_other_mistakes(settings)):
        raw.mistake(path, words)
    if raw.mistakes:
        raise raw.error()
    return settings


def _in_our_words(detail: ErrorDetails) -> tuple[Path, str]:
    """Where and what: pydantic's own words may quote the value."""
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    if path[0] == "channels" and path[2:3] and path[2] in CHANNEL_TYPES:
        path = (*path[:2], *path[3:])  # pydantic puts the type into the path
    kind, value = detail["type"], detail.get("input")
    if kind == "value_error":
        return path, str(detail["ctx"]["error"])
    if kind == "string_type" and value is not None and not isinstance(value, (list, dict)):
        return path, "a text is wanted: quote it"
    if kind.startswith("union_tag"):
        return (*path, "type"), f"{' or '.join(CHANNEL_TYPES)} is wanted"
    return path, WORDS.get(kind) or WORDS.get(kind.partition("_")[0]) or "is not what is wanted here"


WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "too_short": "at least one is wanted",
    "greater_than_equal": "a number of at least 1 is wanted",
    "less_than_equal": "the number is too great",
    "string": "a text is wanted",
    "tuple": "a list is wanted",
    "dict": "keys with values are wanted",
    "model": "keys with values are wanted",
    "bool": "true or false is wanted",
    "int": "a whole number is wanted",
}


def _credential_mistakes(settings: Settings) -> Iterator[tuple[Path, str]]:
    cloud = settings.cloud
    pairs = (
        ("access_key", "secret_key"),
        ("secret_key", "access_key"),
        ("security_token", "access_key"),
        ("username", "password"),
        ("username", "user_domain_name"),
        ("password", "username"),
    )
    for one, other in pairs:
        if getattr(cloud, one) and not getattr(cloud, other):
            yield ("cloud", other), f"is missing: OS_{one.upper()} is of no use without it"
    regions = [project.region for project in settings.projects]
    known = cloud.region or (regions and all(regions))
    if not settings.projects and not cloud.project_name:
        yield ("cloud", "project_id"), "is missing: no project is known (VAULTBELL_PROJECTS, OS_PROJECT_NAME)"
    if not settings.projects and cloud.project_name and (cloud.token or cloud.access_key or not cloud.username):
        yield ("cloud", "project_id"), "is missing: OS_PROJECT_NAME alone is looked up with OS_USERNAME only"
    if not known and not cloud.endpoint:
        yield ("cloud", "region"), "is missing: it gives the cloud's addresses (or CBR_ENDPOINT, or project_id@region)"
    elif not known and cloud.username and not cloud.auth_url:
        yield ("cloud", "auth_url"), "is missing: without OS_REGION_NAME, only this says where to log in"
    ids = [project.project_id for project in settings.projects]
    if len(set(ids)) < len(ids):
        yield ("projects",), "a project is named twice"


def _other_mistakes(settings: Settings) -> Iterator[tuple[Path, str]]:
    for name, channel in settings.channels.items():
        if channel.roll_call and channel.incident:
            yield ("channels", name, "roll_call"), "a roll call is no incident: let a mailbox or a chat have it"
    for at, rule in enumerate(settings.watch[:-1]):
        if rule.vault == "*":
            yield ("watch", at), "takes every vault, and the rules after it are never reached"


def _route_mistakes(settings: Settings) -> Iterator[tuple[Path, str]]:
    last = len(settings.routes) - 1
    for at, route in enumerate(settings.routes):
        for which, name in enumerate(route.channels):
            if name not in settings.channels:
                yield ("routes", at, "channels", which), f"there is no channel {shown(name)}"
        for key, known in (("outcome", tuple(SEVERITIES)), ("severity", LEVELS)):
            if any(text not in known and not set(text) & {"*", "?"} for text in route.patterns.get(key, ())):
                yield ("routes", at, "match", key), f"one of these, or a glob, is wanted: {', '.join(known)}"
        for key, words in _condition_mistakes(route, history=settings.history):
            yield ("routes", at, "match", key), words
        if route.fallback is not None and route.fallback not in settings.channels:
            yield ("routes", at, "fallback"), f"there is no channel {shown(route.fallback)}"
        if route.fallback in route.channels:
            yield ("routes", at, "fallback"), "is one of the route's own channels"
        if at == last and route.match:
            yield ("routes", at, "match"), "the last route matches everything: it has no match"
        if at < last and not route.match and not route.continue_:
            yield ("routes", at), "takes everything, and the routes after it are never reached: match or continue"


def _condition_mistakes(route: Route, *, history: bool) -> Iterator[tuple[str, str]]:
    for key in conditions.FIELDS:
        for text in route.patterns.get(key, ()):
            try:
                conditions.read(key, text)
            except ValueError as error:
                yield key, str(error)
        if key in route.patterns and not history:
            yield key, "is never known with history: false (VAULTBELL_HISTORY)"
