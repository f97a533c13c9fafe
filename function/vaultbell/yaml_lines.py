"""YAML with the line of every key, so that a mistake in the settings can be found.

Read is what JSON could say as well, written as YAML 1.1: texts, numbers, truths, nulls, lists, and mappings whose
keys are texts. Tags, aliases and merge keys are refused: settings are short, and without aliases a file can never
grow while it is read. PyYAML is dear at a cold start: import this module only where a file is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

Path = tuple[str | int, ...]

DEEPEST = 20

_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_SCALARS = frozenset(_TAG + kind for kind in ("str", "int", "float", "bool", "null", "timestamp"))


@dataclass(slots=True)
class Document:
    """What a file says: `lines` has the line of each path (counted from 1), `mistakes` a line and words for each."""

    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    mistakes: list[tuple[int, str]] = field(default_factory=list)


def read(text: str) -> Document:
    """The one document in `text`. What cannot be read is told in `mistakes`, without the value that stands there."""
    document = Document()
    loader: yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            document.data = _Reader(loader, document).value(root, (), root.start_mark.line + 1)
    except yaml.composer.ComposerError as error:  # its words quote the text
        document.mistakes.append((_line(error), "one document without anchors and aliases is wanted"))
    except yaml.MarkedYAMLError as error:
        document.mistakes.append((_line(error), f"this is not YAML: {error.problem}"))
    except yaml.YAMLError:
        document.mistakes.append((1, "the file holds a character that YAML does not allow"))
    except RecursionError:
        document.mistakes.append((1, "the file is nested too deeply"))
    return document


def _line(error: yaml.MarkedYAMLError) -> int:
    return error.problem_mark.line + 1 if error.problem_mark else 1


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: Path, line: int) -> object:
        """What the node says, its lines noted; `line` is where its key stands."""
        self._document.lines[path] = line
        if id(node) in self._seen or len(path) > DEEPEST:
            self._mistake(line, "aliases are not understood here, nor is anything this deep: write it out")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*path, at), item.start_mark.line + 1) for at, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != _TEXT:
                self._mistake(line, "a key is a text: quote it (merge keys are not understood)")
            elif key.value in found:
                self._mistake(line, f"the key {key.value if key.value.isidentifier() else '…'} is given twice")
            else:
                found[key.value] = self.value(value, (*path, key.value), line)
        return found

    def _scalar(self, node: yaml.Node, line: int) -> object:
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS & {_TEXT, self._resolved(node)}:
            self._mistake(line, "tags are not understood here")
            return None
        try:
            found: object = self._loader.construct_object(node)
        except ValueError:  # the 31st of February, say
            self._mistake(line, "this is no value: quote it if it is a text")
            return None
        return found

    def _resolved(self, node: yaml.ScalarNode) -> object:
        """The tag that the value would have without one of its own."""
        return self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]  # stubs

    def _mistake(self, line: int, words: str) -> None:
        self._document.mistakes.append((line, words))
