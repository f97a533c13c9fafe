"""JSON from strangers: what means one thing to every reader, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell import strict_json
from vaultbell.errors import InvalidEvent
from vaultbell.strict_json import DEEPEST, MOST

MARKER = "s3cr3t-marker"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, "x", null, true]}', {"a": [1, 2.5, "x", None, True]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "ü🔔"}'.encode(), {"a": "ü🔔"}),
        (b'{"a": {"b": 1}, "b": {"a": 1}}', {"a": {"b": 1}, "b": {"a": 1}}),
        (b"\n[ ]\t", []),
        (b'"\\ud83d\\udd14"', "🔔"),
        (b"0", 0),
        ('{"a": 1}', {"a": 1}),
    ],
)
def test_json_is_read(body: bytes | str, value: object) -> None:
    assert strict_json.loads(body) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"[Infinity]", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'[{"x": {"a": 1, "b": 2, "a": 3}}]', "a key twice"),
        (b'{"a": 1, "\\u0061": 2}', "a key twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_would_mean_two_things_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(InvalidEvent, match=words) as refused:
        strict_json.loads(body)
    assert (refused.value.status, refused.value.code) == (400, "not_json")


@pytest.mark.parametrize("body", ['{"a": "%s", "a": 1}', '{"a": %s}', '{"%s": 1, "%s": 2}', '["%s"'])
def test_a_refusal_does_not_quote_what_stood_there(body: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        strict_json.loads(body.replace("%s", MARKER))
    assert MARKER not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_how_deep_it_may_be_does_not_depend_on_who_reads_it(opened: str, closed: str) -> None:
    assert strict_json.loads(opened * DEEPEST + "1" + closed * DEEPEST)
    for depth in (DEEPEST + 1, 900, 990):  # Python itself bears some 990, from where it stands
        with pytest.raises(InvalidEvent, match="nested too deeply"):
            strict_json.loads(opened * depth + "1" + closed * depth)
    assert strict_json.loads(f"[{','.join(['[1]'] * 1_000)}]"), "what is wide is not deep"


@pytest.mark.parametrize(("value", "weight"), [("{}", 3), ("[]", 3), ("0", 1), ('"x"', 1)])
def test_what_would_take_many_times_the_room_of_its_text_is_refused(value: str, weight: int) -> None:
    number = MOST // weight
    assert strict_json.loads(f"[{','.join([value] * (number - 1))}]")
    with pytest.raises(InvalidEvent, match="too many") as refused:
        strict_json.loads(f"[{','.join([value] * (number + 1))}]")
    assert (refused.value.status, refused.value.code) == (413, "too_large")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(VALUES)
def test_whatever_is_json_comes_back(value: object) -> None:
    assert strict_json.loads(json.dumps(value).encode()) == value
    assert strict_json.loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary() | st.text(st.sampled_from('{}[]":,0a\\u \n')).map(str.encode))
def test_whatever_it_is_it_is_json_or_refused(body: bytes) -> None:
    try:
        value = strict_json.loads(body)
    except InvalidEvent:
        return
    assert json.loads(body.removeprefix(b"\xef\xbb\xbf")) == value
