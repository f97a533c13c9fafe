"""What can be said of a Terraform template by reading it: whether it fits the provider's schema and its own names.

Terraform itself says more (check_terraform.py asks it), but is not everywhere; this takes a parser alone. Expressions
are not evaluated: types are judged where a literal stands, references by their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

SCHEMAS = Path(__file__).parent / "schema"
PROVIDERS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(SCHEMAS.glob("*.json"))}

# What Terraform itself takes in every resource or data source.
META = {"count", "depends_on", "for_each", "lifecycle", "provider"}
LITERALS: dict[str, type | tuple[type, ...]] = {"string": str, "number": (int, float), "bool": bool}

# What must not be written down: a value of such a name, and what looks like a secret whatever its name.
SECRET_NAME = re.compile(r"secret|password|passwd|token|(access|api|private|routing)_?key", re.IGNORECASE)
READABLE = {"environment", "user_data", "tags"}  # what the console shows
SECRET_VALUE = re.compile(r"whsec_[A-Za-z0-9+/]{8}|://[^/\s:@$]*:[^/\s@$]+@|-----BEGIN")

Block = Mapping[str, Any]  # as the parser gives it: texts keep their quotes, expressions are ${…}


@cache
def parsed(text: str) -> Block:
    """The parser's reading of a file; it is slow, and most files are read again unchanged."""
    return hcl2.loads(text)


class Template:
    """A folder of .tf files as one: what is declared in it, by kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.name: parsed(path.read_text("utf-8")) for path in sorted(folder.glob("*.tf"))}
        self.variables = dict(self._named("variable"))
        self.outputs = dict(self._named("output"))
        self.modules = dict(self._named("module"))
        self.locals = {name for block in self._blocks("locals") for name in block if not name.startswith("__")}
        self.resources = {("resource", *key): of for key, of in self._typed("resource")}
        self.data = {("data", *key): of for key, of in self._typed("data")}

    def _blocks(self, kind: str) -> Iterator[Block]:
        for file in self.files.values():
            yield from file.get(kind, [])

    def _named(self, kind: str) -> Iterator[tuple[str, Block]]:
        for block in self._blocks(kind):
            yield from ((_bare(name), of) for name, of in block.items() if isinstance(of, dict))

    def _typed(self, kind: str) -> Iterator[tuple[tuple[str, str], Block]]:
        for type_, of in self._named(kind):
            yield from (((type_, _bare(name)), inner) for name, inner in of.items() if isinstance(inner, dict))

    def mistakes(self) -> list[str]:
        """All that is wrong, each with its place."""
        found = [*self._unknown_references(), *self._secrets()]
        for (kind, type_, name), of in (self.resources | self.data).items():
            schema = _schema(kind, type_)
            place = f"{'data.' if kind == 'data' else ''}{type_}.{name}"
            if schema is None:
                found.append(f"{place}: there is no such thing")
            else:
                found += _misfits(place, of, schema, META)
        return found

    def _unknown_references(self) -> Iterator[str]:
        for file, text in ((name, json.dumps(of)) for name, of in self.files.items()):
            for expression in re.findall(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", text):
                yield from (f"{file}: {words}" for words in self._unknown_in(expression))

    def _unknown_in(self, expression: str) -> Iterator[str]:
        bare = re.sub(r'\\"(?:[^"\\$]|\\\\)*\\"', '""', expression)  # texts are no references
        for name in re.findall(r"(?<![\w.])var\.(\w+)", bare):
            if name not in self.variables:
                yield f"var.{name} is not declared"
        for name in re.findall(r"(?<![\w.])local\.(\w+)", bare):
            if name not in self.locals:
                yield f"local.{name} is not declared"
        for module, output in re.findall(r"(?<![\w.])module\.(\w+)\.(\w+)", bare):
            source = self.modules.get(module, {}).get("source")
            if source is None or output not in Template(self.folder / _bare(source)).outputs:
                yield f"module.{module}.{output} is not declared"
        for data, type_, name, index, key in re.findall(
            r"(?<![\w.])(data\.)?((?:opentelekomcloud|huaweicloud)_\w+)\.(\w+)(\[[^\]]*\])?(?:\.(\w+))?", bare
        ):
            kind = "data" if data else "resource"
            if (kind, type_, name) not in (self.resources | self.data):
                yield f"{data}{type_}.{name} is not declared"
            elif key and key not in (_schema(kind, type_) or {}):
                yield f"{data}{type_}.{name}{index}.{key} is nothing that it has"

    def _secrets(self) -> Iterator[str]:
        for name, of in self.variables.items():
            if of.get("sensitive") is True and of.get("default") not in (None, {}):
                yield f"variable {name}: a secret has no default"
            if SECRET_NAME.search(name) and of.get("sensitive") is not True:
                yield f"variable {name}: is not marked as sensitive"
        secret = {name for name, of in self.variables.items() if of.get("sensitive") is True}
        for file, content in self.files.items():
            for path, text in _texts(content):
                place = f"{file}: {'.'.join(path)}"
                if READABLE & set(path) and secret & set(re.findall(r"\bvar\.(\w+)", text)):
                    yield f"{place}: a secret where everybody can read it"
                if {"description", "error_message"} & set(path):
                    continue
                named = SECRET_NAME.search(path[-1] if path else "") and text.startswith('"') and "${" not in text
                if SECRET_VALUE.search(text) or (named and len(text) > 2):
                    yield f"{place}: a secret is written down"


def _schema(kind: str, type_: str) -> Block | None:
    provider = PROVIDERS.get(type_.partition("_")[0], {})
    found: Block | None = provider.get("resources" if kind == "resource" else "data", {}).get(type_)
    return found


def _misfits(place: str, given: Block, schema: Block, besides: set[str]) -> Iterator[str]:
    blocks = {_bare(name): of["content"] for block in given.get("dynamic", []) for name, of in block.items()}
    names = {name for name in given if not name.startswith("__") and name != "dynamic"} | blocks.keys()
    for name in sorted(names - schema.keys() - besides):
        yield f"{place}: {name} is no argument of it"
    for name, said in schema.items():
        must = said if isinstance(said, str) else said["block"]
        if must.endswith("!") and name not in names:
            yield f"{place}: {name} is missing"
        if name not in names or name in besides:
            continue
        value = blocks.get(name, given.get(name))
        if isinstance(said, str):
            yield from _wrong_value(f"{place}.{name}", value, said)
        elif not isinstance(value, list) or not all(isinstance(inner, dict) for inner in value):
            yield f"{place}: {name} is a block"
        else:
            if said["block"].startswith("one") and len(value) > 1:
                yield f"{place}: {name} may stand there once"
            for inner in value:
                yield from _misfits(f"{place}.{name}", inner, said["of"], set())


def _wrong_value(place: str, value: object, said: str) -> Iterator[str]:
    if said.endswith("="):
        yield f"{place}: can only be read"
        return
    outer = said.rstrip("!").partition("(")[0]
    if outer == "any" or value is None or (isinstance(value, str) and not value.startswith('"')):
        return  # whatever the expression is
    wanted = LITERALS.get(outer, {"list": list, "map": dict}.get(outer, object))
    text = _bare(value) if isinstance(value, str) else None
    converts = text is not None and outer != "string" and ("${" in text or _reads_as(text, outer))
    fits = isinstance(value, wanted) and not (outer == "number" and isinstance(value, bool))
    if not fits and not converts and not (outer == "string" and isinstance(value, (bool, int, float))):
        yield f"{place}: is no {outer}"


def _reads_as(text: str, outer: str) -> bool:
    """Whether Terraform would make such a value of the text."""
    return bool(re.fullmatch({"number": r"-?\d+(\.\d+)?", "bool": "true|false"}.get(outer, "$."), text))


def _texts(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text and expression, and the keys that lead to it."""
    match value:
        case dict():
            for key, inner in value.items():
                if key != "__comments__":
                    yield from _texts(inner, (*path, _bare(str(key))))
        case list():
            for inner in value:
                yield from _texts(inner, path)
        case str():
            yield path, value


def _bare(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
