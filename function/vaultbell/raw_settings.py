"""Settings before they are judged: environment, YAML and secret files, and the place of each value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vaultbell.errors import SettingsError
from vaultbell.values import read_file, read_secret

Path = tuple[str | int, ...]
Object = dict[str, object]

CONFIG = "VAULTBELL_CONFIG"
FILE_KEYS = ("channels", "routes", "outcomes", "digest_over", "history", "watch")
_PLAIN = """
    inbound_token projects smn_topics unfinished time_budget platform heartbeat_url reply_events seen_url tz log_level
    log_format history roll_call
"""
_CLOUD = """
    auth_url token access_key secret_key security_token username password user_domain_name project_id project_name
"""
VARIABLES: dict[str, tuple[str, ...]] = {
    "VAULTBELL_WEBHOOK_URL": ("channels", "webhook", "url"),
    "VAULTBELL_WEBHOOK_SECRET": ("channels", "webhook", "secrets"),
    "VAULTBELL_ALLOW_PRIVATE": ("channels", "webhook", "allow_private"),
    "VAULTBELL_EMAIL_TO": ("channels", "email", "to"),
    "VAULTBELL_EMAIL_FROM": ("channels", "email", "from"),
    "VAULTBELL_SMTP_URL": ("channels", "email", "smtp"),
    "VAULTBELL_INBOUND_SECRET": ("inbound_secrets",),
    "CBR_ENDPOINT": ("cloud", "endpoint"),
    "OS_REGION_NAME": ("cloud", "region"),
    **{f"VAULTBELL_SWEEP_{name.upper()}": ("sweep", name) for name in ("period", "lag", "lookback", "history")},
    **{f"VAULTBELL_{name.upper()}": (name,) for name in _PLAIN.split()},
    **{f"OS_{name.upper()}": ("cloud", name) for name in _CLOUD.split()},
}
# These may stand in a file that …_FILE names: secrets, and all of OpenStack's.
BY_FILE = frozenset(
    name for name in VARIABLES if name.startswith("OS_") or name.endswith(("_URL", "_SECRET", "_TOKEN"))
)

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
# What Kubernetes sets for each Service whose name begins with ours; its …_PORT is an address.
_NOT_OURS = re.compile(
    r"VAULTBELL_(TEST_\w+=|(\w+_)?(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT=\w+://|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=)).*",
    re.DOTALL,
)


@dataclass(slots=True)
class RawSettings:
    """What was read, where each value stands (a line of the file, or a variable), and the mistakes so far, by place.

    `whole` is false where something could not be read, so that judging the rest would mislead.
    """

    environ: Mapping[str, str]
    config: str = ""
    data: Object = field(default_factory=dict)
    places: dict[Path, int | str] = field(default_factory=dict)
    mistakes: dict[str, str] = field(default_factory=dict)
    whole: bool = True

    @classmethod
    def read(cls, environ: Mapping[str, str], *, tells: bool = True) -> RawSettings:
        """Everything that the environment says and names. Mistakes are noted, not raised. `tells`: see `load`."""
        raw = cls(environ, environ.get(CONFIG, ""))
        raw._check_names()
        if raw.config:
            raw._read_config()
        raw._read_variables()
        channels = raw.data.setdefault("channels", {})
        raw.data.setdefault("routes", [{"channels": list(channels) if isinstance(channels, dict) else []}])
        raw.places.setdefault(("channels",), "VAULTBELL_WEBHOOK_URL")
        if tells and raw.whole and channels == {}:
            raw.mistake(("channels",), "is missing: there is no channel (another is VAULTBELL_EMAIL_TO's)")
        return raw

    def mistake(self, path: Path, words: str) -> None:
        """Note it, at the place where the path, or the nearest part of it, stands; the first at a place counts."""
        place = next((self.places[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.places), CONFIG)
        if isinstance(place, int):
            keys = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in path).lstrip(".")
            place = f"{self.config}:{place}: {keys}" if keys else f"{self.config}:{place}"
        self.mistakes.setdefault(place, words)

    def error(self) -> SettingsError:
        """All mistakes."""
        return SettingsError("\n".join(f"{place}: {words}" for place, words in self.mistakes.items()))

    def _check_names(self) -> None:
        known = {CONFIG, *VARIABLES, *(f"{name}_FILE" for name in BY_FILE)}
        for name, value in sorted(self.environ.items()):
            if name.startswith("VAULTBELL_") and name not in known and not _NOT_OURS.fullmatch(f"{name}={value}"):
                from difflib import get_close_matches  # noqa: PLC0415 - only for the word that helps

                near = get_close_matches(name, sorted(known), 1)
                self.mistakes[name] = f"is not known{f'; is {near[0]} meant?' if near else ''}"

    def _read_config(self) -> None:
        from vaultbell import yaml_lines  # noqa: PLC0415 - PyYAML is dear at a cold start

        try:
            document = yaml_lines.read(read_file(self.config))
        except ValueError as error:
            self._unread(CONFIG, str(error))
            return
        self.places |= document.lines
        for line, words in document.mistakes:
            self.mistakes[f"{self.config}:{line}"] = words
        if document.mistakes and document.data is None:
            self.whole = False
            return
        found = self._replaced(document.data, ())
        if isinstance(found, dict):
            for key in found.keys() - FILE_KEYS:
                self.mistake((key,), f"is not known; the file's keys are {', '.join(FILE_KEYS)}")
            self.data = {key: value for key, value in found.items() if key in FILE_KEYS}
        else:
            words = "is empty" if found is None else "keys with values are wanted"
            self._unread(f"{self.config}:1", words)

    def _unread(self, place: str, words: str) -> None:
        self.whole = False
        self.mistakes.setdefault(place, words)

    def _replaced(self, value: object, path: Path) -> object:
        match value:
            case dict():
                return {key: self._replaced(item, (*path, key)) for key, item in value.items()}
            case list():
                return [self._replaced(item, (*path, at)) for at, item in enumerate(value)]
            case str():
                try:
                    return _REFERENCE.sub(self._referred, value)
                except ValueError as error:
                    self.mistake(path, str(error))
        return value

    def _referred(self, match: re.Match[str]) -> str:
        name = match[1]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise ValueError("${ has no } ($${ stands for the characters)")
        if name.startswith("file:"):
            return read_secret(name.removeprefix("file:"))
        if not re.fullmatch(r"[A-Za-z_]\w*", name):  # not shown: it may be half a password
            raise ValueError("${…} holds a variable's name, or file: and a path ($${ stands for the characters)")
        if not self.environ.get(name):
            raise ValueError(f"${{{name}}} is not set, or empty")
        return self.environ[name]

    def _read_variables(self) -> None:
        """The environment's own settings, beside the file's."""
        given = {name: value for name in VARIABLES if (value := self._variable(name))}
        if "OS_PROJECT_ID" not in given and "OS_PROJECT_NAME" not in given and self.environ.get("RUNTIME_PROJECT_ID"):
            given["OS_PROJECT_ID"] = self.environ["RUNTIME_PROJECT_ID"]
        twice = [name for name, path in VARIABLES.items() if path[0] in self.data and len(path) == 1 and name in given]
        for name in twice:
            self.mistake(VARIABLES[name], f"is given twice, the other time by {name}")
        self.places |= {path: name for name, path in VARIABLES.items() if path[0] not in ("channels", *self.data)}
        for channel in ("webhook", "email"):
            names = [name for name, path in VARIABLES.items() if path[:2] == ("channels", channel)]
            if not any(name in given for name in names):
                continue
            channels = self._under("channels")
            if channel in channels:
                self.mistake(("channels", channel), f"{names[0]} makes a channel of this name as well")
                given = {name: value for name, value in given.items() if name not in names}
            else:
                channels[channel] = {"type": channel}
                self.places |= {VARIABLES[name]: name for name in names}
        for name, value in given.items():
            *above, key = VARIABLES[name]
            self._under(*above)[key] = value
        projects = given.get("VAULTBELL_PROJECTS") or given.get("OS_PROJECT_ID") or ""
        if projects:
            self.data["projects"] = [_project(text) for text in projects.split(",")]
        if "VAULTBELL_PROJECTS" not in given:
            self.places["projects",] = "OS_PROJECT_ID"
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
            if told := self.environ.get(name.lower()) or self.environ.get(name):
                self._under("proxies")[name] = told if name == "NO_PROXY" else host_of(told) or "?"

    def _variable(self, name: str) -> str:
        """The variable's value, or that of the file that its `…_FILE` names; empty where there is none."""
        value, path = self.environ.get(name, ""), self.environ.get(f"{name}_FILE", "")
        if not path or name not in BY_FILE:
            return value if value.strip() else ""
        if value.strip():
            self.mistakes[name] = f"is given twice, the other time by {name}_FILE"
            return value
        try:
            return read_secret(path)
        except ValueError as error:
            self._unread(f"{name}_FILE", str(error))
            return ""

    def _under(self, *keys: str) -> Object:
        """The mapping at these keys, made where there is none."""
        found = self.data
        for key in keys:
            inner = found.setdefault(key, {})
            found = inner if isinstance(inner, dict) else {}
        return found


def shown(key: str) -> str:
    """A key, fit to be printed: what does not look like one may be a secret in the wrong place."""
    return key if re.fullmatch(r"[\w-]{1,64}", key) else "…"


def _project(text: str) -> Object:
    project_id, at, region = text.strip().partition("@")
    return {"project_id": project_id, **({"region": region} if at else {})}


def host_of(url: str) -> str | None:
    """The host of an address, which may lack its scheme; None where it has none."""
    try:
        return urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:
        return None
