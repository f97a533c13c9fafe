"""Marked secrets: texts that are known again in whatever form somebody shows them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from vaultbell.raw_settings import BY_FILE
from vaultbell.settings import BELONGS, FORMATS

_CUT = 12  # characters by which a mark is known: who shows a part of a secret shows it too


class Marks:
    """Makes marks, each named after the place where it is planted, and finds them."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, ...]] = {}

    def __call__(self, place: str) -> str:
        """A mark: 20 small letters and digits, the same for the same place."""
        mark = "mk" + hashlib.sha256(place.encode()).hexdigest()[:18]
        self.add(place, mark)
        return mark

    def signing(self, place: str) -> str:
        """A mark as a secret of Standard Webhooks."""
        return "whsec_" + base64.b64encode(f"{self(place)}{place:.<12.12}".encode()).decode()

    def add(self, place: str, secret: str) -> None:
        """A secret that somebody else has made."""
        self._forms[place] = tuple(_forms(secret[:_CUT]))

    def shown_in(self, *texts: str) -> list[str]:
        """The places of all the marks that are shown, in any form, and how: empty where none is."""
        text = "\n".join(texts)
        lower = text.lower()
        return [
            f"{place}: …{(lower if form.islower() else text)[max(0, at - 60) :][:120]}…"
            for place, forms in self._forms.items()
            for form in forms
            if (at := (lower if form.islower() else text).find(form)) >= 0
        ]


def _forms(text: str) -> Iterable[str]:
    """The text, its hex, and its base64 wherever in a longer text it may have stood (Basic: behind `user:`)."""
    raw = text.encode()
    yield text.lower()
    yield raw.hex()
    for before, start in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        sure = whole[start : (before + len(raw)) * 8 // 6]  # what depends on this text alone
        yield sure
        yield sure.translate(str.maketrans("+/", "-_"))


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the planted settings lead: `scheme://host:port` of web receivers, of the proxy, and of the mail server."""

    web: str
    smtp: str
    proxy: str


def planted(
    marks: Marks, folder: Path, peers: Peers, told: Sequence[str] = (), *, by_file: bool = False
) -> dict[str, str]:
    """An environment with a mark in every setting that is a secret, and a file of settings with one in each of its.

    `told`: the channels of the route (default: all). `by_file`: what may be given by a file is.
    """

    def web(place: str, query: str = "?key={}", base: str = peers.web) -> str:
        parts = urlsplit(base)
        told = f"{parts.scheme}://{marks(place + ' user')}:{marks(place + ' password')}%40@{parts.netloc}"
        return f"{told}/{marks(place + ' path')}{query.format(marks(place + ' query'))}"

    parts = urlsplit(peers.smtp)
    smtp = f"{parts.scheme}://bell:{marks('password for mail')}@{parts.netloc}{parts.query and '?' + parts.query}"

    (folder / "signing").write_text(marks.signing("a secret by ${file:}") + "\n")
    env = {"SIGNING": marks.signing("a secret by ${NAME}"), "SMTP": smtp}
    env |= {f"URL_OF_{name.upper()}": web(name, "" if name == "opsgenie" else "?key={}") for name in FORMATS}
    channels: dict[str, dict[str, object]] = {
        name: {
            "type": "webhook",
            "format": name,
            "url": f"${{URL_OF_{name.upper()}}}",
            "secrets": ["${SIGNING}", f"${{file:{folder}/signing}}", marks.signing(f"a secret of {name}")],
        }
        for name in FORMATS
    }
    for key, name in BELONGS.items():
        if key != "expires":
            channels[name][key] = marks(f"{key} of {name}")
    channels["proxied"] = {"type": "webhook", "url": web("proxied"), "proxy": web("proxy", "", peers.proxy)}
    channels["guarded"] = {"type": "webhook", "url": web("guarded"), "allow_private": False}
    channels["mail"] = {"type": "email", "smtp": "${SMTP}", "from": "bell@example.org", "to": "ops@example.org"}
    if find_spec("apprise"):
        channels["apprise"] = {"type": "apprise", "url": web("apprise").replace("http", "json", 1)}
    route = {"channels": list(told) or [*channels, "webhook", "email"]}
    (folder / "vaultbell.yaml").write_text(json.dumps({"channels": channels, "routes": [route]}, indent=1))
    secret = {
        "VAULTBELL_WEBHOOK_URL": web("VAULTBELL_WEBHOOK_URL"),
        "VAULTBELL_WEBHOOK_SECRET": marks.signing("first secret") + " " + marks.signing("second secret"),
        "VAULTBELL_SMTP_URL": smtp,
        "VAULTBELL_INBOUND_TOKEN": marks("VAULTBELL_INBOUND_TOKEN"),
        "VAULTBELL_INBOUND_SECRET": marks.signing("VAULTBELL_INBOUND_SECRET"),
        "VAULTBELL_HEARTBEAT_URL": web("VAULTBELL_HEARTBEAT_URL"),
        "OS_TOKEN": marks("OS_TOKEN"),
        "OS_ACCESS_KEY": marks("OS_ACCESS_KEY"),
        "OS_SECRET_KEY": marks("OS_SECRET_KEY"),
        "OS_SECURITY_TOKEN": marks("OS_SECURITY_TOKEN"),
        "OS_PASSWORD": marks("OS_PASSWORD"),
    }
    if find_spec("redis"):
        store = f"redis://{marks('store user')}:{marks('store password')}@127.0.0.1:9/0"
        secret["VAULTBELL_SEEN_URL"] = store
    if by_file:
        for name in BY_FILE & secret.keys():
            (folder / name).write_text(secret.pop(name) + "\n")
            secret[f"{name}_FILE"] = str(folder / name)
    return env | secret | {
        "VAULTBELL_CONFIG": str(folder / "vaultbell.yaml"),
        "VAULTBELL_EMAIL_TO": "ops@example.org",
        "VAULTBELL_EMAIL_FROM": "bell@example.org",
        "VAULTBELL_LOG_LEVEL": "DEBUG",
        "OS_USERNAME": "vaultbell",
        "OS_USER_DOMAIN_NAME": "standin",
        "OS_REGION_NAME": "eu-de",
    }  # fmt: skip
