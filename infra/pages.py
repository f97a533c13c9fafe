"""The pages of the documentation that nobody writes twice, as hooks of MkDocs (`mkdocs.yml`).

Some are carried over from elsewhere in the repository; the reference of the settings is made of their models, and
the runbook of what messages advise. What each setting means is in `docs/meanings.toml`, what each of our own error
codes means in `docs/codes.toml`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel, SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo

from vaultbell import advice, settings, values
from vaultbell.outcome import OutcomeName
from vaultbell.raw_settings import BY_FILE, CONFIG, FILE_KEYS, VARIABLES

TOP = Path(__file__).parents[1]
MEANINGS = TOP / "docs" / "meanings.toml"
CODES = TOP / "docs" / "codes.toml"
CARRIED: Mapping[str, str] = {
    "observability.md": "infra/observability/README.md",
    "deploy.md": "infra/README.md",
    "deploy-functiongraph.md": "infra/functiongraph/README.md",
    "deploy-knative.md": "infra/knative/README.md",
    "deploy-kubernetes.md": "infra/kubernetes/README.md",
    "deploy-container.md": "infra/container/README.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "contributing.md": "CONTRIBUTING.md",
}
# Where each model's settings stand: in the file, or the environment alone.
MODELS: Mapping[type[BaseModel], tuple[str, ...]] = {
    settings.Settings: (),
    settings.WebhookChannel: ("channels", "webhook"),
    settings.EmailChannel: ("channels", "email"),
    settings.AppriseChannel: ("channels", "apprise"),
    settings.Route: ("routes",),
    settings.OutcomeRules: ("outcomes",),
    settings.WatchRule: ("watch",),
    settings.SweepRules: ("sweep",),
    settings.Project: ("projects",),
    settings.Cloud: ("cloud",),
}
KINDS: tuple[tuple[object, str], ...] = (
    (values.Duration, "duration"),
    (values.Seconds, "duration"),
    (values.Count, "number, 1 to 10,000"),
    (values.WebUrl, "web address, secret beyond its host"),
    (values.Endpoint, "web address"),
    (values.Secrets, "list of secrets (`whsec_…`)"),
    (values.Token, "secret"),
    (values.MailAddress, "mail address"),
    (values.ServiceUrl, "Apprise address, secret"),
    (values.ProjectId, "32 hex digits"),
    (values.Topic, "topic (`urn:smn:…`)"),
    (values.ChannelName, "name"),
    (bool, "`true` or `false`"),
    (str, "text"),
    (SecretStr, "secret"),
)
LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out of the navigation what is not there."""
    made = {*CARRIED, "settings.md", "runbook.md"}

    def there(entry: dict[str, Any]) -> dict[str, Any] | None:
        ((title, what),) = entry.items()
        if isinstance(what, list):
            return {title: [found for inner in what if (found := there(inner))]}
        return entry if what in made or Path(config.docs_dir, what).exists() else None

    config.nav = [found for entry in config.nav or [] if (found := there(entry))]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    pages = {"settings.md": reference(), "runbook.md": runbook()}
    pages |= {page: carried(page) for page in CARRIED}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def carried(page: str) -> str:
    """A text of the repository, its links to other pages made right, those to files that are no pages told as paths."""
    source = TOP / CARRIED[page]

    def linked(match: re.Match[str]) -> str:
        _, text, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        path, _, anchor = target.partition("#")
        place = os.path.relpath((source.parent / path).resolve(), TOP)
        known = {origin: name for name, origin in CARRIED.items()} | {"README.md": "index.md"}
        if place in known:
            return f"[{text}]({known[place]}{'#' if anchor else ''}{anchor})"
        if place.startswith("docs/"):
            return f"[{text}]({place.removeprefix('docs/')})"
        return text if text.strip("`") == place else f"{text} (`{place}`)"

    return LINK.sub(linked, source.read_text("utf-8"))


def meanings() -> dict[str, dict[str, str]]:
    """What each setting means, by its model and its name as it is written in the file."""
    with MEANINGS.open("rb") as file:
        return tomllib.load(file)


def our_codes() -> dict[str, dict[str, str]]:
    """What each of our own error codes is answered by (`answer`), means (`means`), and asks of one (`do`)."""
    with CODES.open("rb") as file:
        return tomllib.load(file)


def reference() -> str:
    """The page of the settings."""
    told = meanings()
    parts = [_REFERENCE, *(_section(model, told[model.__name__]) for model in MODELS)]
    return "\n".join([*parts, _environment()])


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, object]]:
    """The settings of a model: the name as it is written, the field, and its type."""
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        yield field.alias or _alias_within(hints[name]) or name, field, hints[name]


def kind(hint: object) -> str:
    """What may stand there, in words. Raises LookupError for a type that has none yet."""
    known = next((words for type_, words in KINDS if type_ == hint), None)
    if known:
        return known
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return (_choices(hint) if inner[0] is str else None) or kind(inner[0])
    if origin is Literal:
        return f"`{inner[0]}`"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind(arg) for arg in inner if arg is not NoneType))
    if origin is tuple:
        return f"list: {kind(inner[0])}"
    if origin is dict:
        return f"keys ({kind(inner[0])}), each with a value ({kind(inner[1])})"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    raise LookupError(f"no words for {hint!r}: add them to KINDS")


def default(field: FieldInfo, hint: object) -> str:
    """What holds where it is not set."""
    if field.is_required():
        return "(required)"
    value = field.default
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            return f"`{_length(value.total_seconds())}`"
        case float() if hint == values.Seconds:
            return f"`{_length(value)}`"
        case tuple() if value:
            return ", ".join(f"`{item}`" for item in value)
        case None | BaseModel() | () | {}:
            return ""
        case _:
            return f"`{value}`"


def runbook() -> str:
    """The page of what to do, by outcome, by the cloud's error code and by ours."""
    codes = (f"{number:04}" for number in range(10_000))
    general = advice.next_step("failed")
    steps = {code: step for code in codes if (step := advice.next_step("failed", f"BackupService.{code}")) != general}
    lines = [_RUNBOOK, "## By outcome\n", "| outcome | what to do |", "| --- | --- |"]
    lines += [f"| `{name}` | {step} |" for name in OutcomeName if (step := advice.next_step(name))]
    lines += ["\n## By error code\n", "| code | what to do |", "| --- | --- |"]
    lines += [f'| <span id="{code}"></span>`BackupService.{code}` | {step} |' for code, step in sorted(steps.items())]
    lines += [_OUR_CODES, "| code | answer | what it means | what to do |", "| --- | --- | --- | --- |"]
    lines += [f"| `{code}` | {told['answer']} | {told['means']} | {told['do']} |" for code, told in our_codes().items()]
    return "\n".join(lines) + "\n"


def _section(model: type[BaseModel], told: Mapping[str, str]) -> str:
    at, name = MODELS[model], model.__name__
    where = {path: variable for variable, path in VARIABLES.items()}
    lines = [f"\n## {name}\n", f"{told['']}\n", "| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, field, hint in fields(model):
        names = [f"`{key}`"] if (*at, key)[0] in FILE_KEYS else []
        names += [f"`{where[*at, key]}`"] if (*at, key) in where else []
        lines.append(f"| {', '.join(names) or '(environment)'} | {kind(hint)} | {default(field, hint)} | {told[key]} |")
    return "\n".join(lines)


def _environment() -> str:
    lines = ["\n## The environment\n", _VARIABLES, "| variable | setting | by file |", "| --- | --- | --- |"]
    lines.append(f"| `{CONFIG}` | the path of the file of settings | |")
    lines += [
        f"| `{name}` | `{'.'.join(path)}` | {f'`{name}_FILE`' if name in BY_FILE else ''} |"
        for name, path in sorted(VARIABLES.items())
    ]
    return "\n".join(lines) + "\n"


def _alias_within(hint: object) -> str | None:
    """The name that an Annotated type gives its field."""
    return next((part.alias for part in get_args(hint)[1:] if isinstance(part, FieldInfo) and part.alias), None)


def _choices(hint: object) -> str | None:
    """The words that may stand there, from what a refusal says; None where it is no choice."""
    asked: dict[str, Any] = {"word": (hint, ...)}
    try:
        create_model("Asked", **asked)(word="?")
    except ValidationError as refused:
        _, found, words = refused.errors()[0]["msg"].partition("one of these is wanted: ")
        return ", ".join(f"`{word}`" for word in words.split(", ")) if found else None
    except (OSError, ValueError):
        return None
    return None


def _length(seconds: float) -> str:
    unit, size = next((unit, size) for unit, size in UNITS if seconds % size == 0)
    # a day is told in hours, as one sets it
    return "24h" if (unit, seconds) == ("d", 86_400) else f"{seconds / size:g}{unit}"


_REFERENCE = """# Settings

Settings come from the environment and from a YAML file that `VAULTBELL_CONFIG` names. One webhook and one mailbox need
no file. A mistake stops the start, and its message names the place, never the value. What is not known is a mistake,
too. [Channels](channels.md) and the [cookbook](cookbook.md) have examples.

A duration is `90s`, `15m`, `24h`, `7d`, or a number of seconds. In the file, `${NAME}` is the value of a variable,
`${file:/run/secrets/x}` what a file holds, and `$${` stands for the characters themselves.

A name in lower case is a key of the file; one in capitals is a variable of the environment.
"""
_VARIABLES = """A variable that is empty counts as not set. Where a file is possible, `…_FILE` names one that holds the
value; only one of the two may be set. Any other variable that begins with `VAULTBELL_` is a mistake.
"""
_RUNBOOK = """# Runbook

A message says what to do next. These are the same steps, for when you have only the code. `vaultbell lookup` with the
task's id shows its record, and `vaultbell explain` why it rang.
"""
_OUR_CODES = """
## By code of an answer

These stand in `error.code` of an answer, in a report's lines, in the log, and in the dead letters of a queue.
"""
