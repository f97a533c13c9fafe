"""Fields of the API's tables, read leniently: a notification must not fail on a field that decides nothing.

Unknown fields are kept, null is absent, texts are trimmed (an empty one is absent), counts may be texts, and a field
of the wrong type is absent. Times are UTC.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vaultbell import times
from vaultbell.report import Object
from vaultbell.text import whole

COUNT_DIGITS = 18


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _lower(value: object) -> str | None:
    return (value.strip().lower() or None) if isinstance(value, str) else None


def _code(value: object) -> str | None:
    """A code may come as a number, whose 0 means none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value else None
    return _text(value)


def _count(value: object) -> int | None:
    if isinstance(value, str):
        value = value.strip()
        return int(value) if len(value) <= COUNT_DIGITS and value.isascii() and value.isdigit() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _truth(value: object) -> bool | None:
    """The API writes booleans as the texts "true" and "false"; Python would take "false" for true."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _block(value: object) -> object:
    """A nested object; some recorded answers carry it as its JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _blocks(value: object) -> object:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> object:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


Text = Annotated[str | None, BeforeValidator(_text)]
Id = Annotated[str | None, BeforeValidator(_lower)]
Code = Annotated[str | None, BeforeValidator(_code)]
Count = Annotated[int | None, BeforeValidator(_count)]
Truth = Annotated[bool | None, BeforeValidator(_truth)]
Time = Annotated[datetime | None, BeforeValidator(times.read)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Block = BeforeValidator(_block)
Blocks = BeforeValidator(_blocks)


class Table(BaseModel):
    """One table of the API. Tuples and frozen blocks can be shared: a default that could change would be copied."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @classmethod
    def read(cls, given: Object) -> Self:
        """The model of what the API gave. Raises nothing for bad fields."""
        try:
            return cls.model_validate(given)
        except ValidationError:  # the name of an unknown field holds half a surrogate pair
            return cls.model_validate(json.loads(whole(json.dumps(given, ensure_ascii=False))))
