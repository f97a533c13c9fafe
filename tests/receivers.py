"""What receivers take: the limits of each, and that what others have named stays a name there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

LINK = "https://console.otc.t-systems.com/cbr/?region=eu-de"


def texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, those of keys aside, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def slack_is_kept(value: Any) -> None:  # noqa: ANN401
    assert units(value["text"]) <= 3_000
    assert len(value["blocks"]) <= 50
    ours = f"<{LINK}|Open the console>"
    assert value["unfurl_links"] is value["unfurl_media"] is False
    for block in value["blocks"]:
        for text in [block["text"]] if "text" in block else block["elements"]:
            assert 1 <= units(text["text"]) <= (150 if block["type"] == "header" else 3_000)
            if text["type"] == "mrkdwn":
                assert text["text"] == ours
            else:
                assert text["type"] == "plain_text"
                assert text["emoji"] is False
    for text in texts(value):
        assert text == ours or not re.search("[<>]|&(?!amp;|lt;|gt;)", text)


def teams_is_kept(value: Any) -> None:  # noqa: ANN401
    assert len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) < 20_000
    (attachment,) = value["attachments"]
    assert value["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    first, *lines = attachment["content"]["body"]
    for line in [*first["items"], *lines]:
        assert line["type"] == "RichTextBlock", "a TextBlock would read Markdown"
        assert {run["type"] for run in line["inlines"]} == {"TextRun"}
        assert all(run["text"] for run in line["inlines"])
    assert not any("{{" in text for text in texts(value))


def discord_is_kept(value: Any) -> None:  # noqa: ANN401
    assert value["allowed_mentions"] == {"parse": []}
    (embed,) = value["embeds"]
    assert 1 <= units(embed["title"]) <= 256
    assert units(embed["description"]) <= 4_096
    assert len(embed["fields"]) <= 25
    for field in embed["fields"]:
        assert 1 <= units(field["name"]) <= 256
        assert 1 <= units(field["value"]) <= 1_024
    counted = [embed["title"], embed["description"], embed["footer"]["text"]]
    counted += [text for field in embed["fields"] for text in (field["name"], field["value"])]
    assert sum(map(units, counted)) <= 6_000
    for text in counted:
        bare = re.sub(r"\\[^\w\s]", "", re.sub(r"^\*\*[A-Z][a-z ]+:\*\*", "", text, flags=re.MULTILINE))
        assert not re.search(r"[*~`|<>\[\]#@]|://", bare)


def pagerduty_is_kept(value: Any) -> None:  # noqa: ANN401
    assert len(json.dumps(value, ensure_ascii=False).encode()) <= 512_000
    assert units(value["dedup_key"]) <= 255
    if value["event_action"] == "trigger":
        payload = value["payload"]
        assert 1 <= units(payload["summary"]) <= 1_024
        assert payload["source"]
        assert payload["severity"] in {"critical", "error", "warning", "info"}


def opsgenie_is_kept(value: Any) -> None:  # noqa: ANN401
    if "alias" not in value:
        assert units(value["note"]) <= 25_000
        return
    limits = {"message": 130, "alias": 512, "entity": 512, "source": 100, "description": 15_000}
    assert all(units(value[key]) <= limit for key, limit in limits.items())
    assert sum(units(key) + units(text) for key, text in value["details"].items()) <= 8_000
    assert len(value["tags"]) <= 20
    assert all(1 <= units(tag) <= 50 for tag in value["tags"])
    for key in ("message", "description"):
        assert not re.search("<[A-Za-z/!?]", value[key]), "it may be read as HTML"


def alertmanager_is_kept(value: Any) -> None:  # noqa: ANN401
    (alert,) = value
    for name, text in {**alert["labels"], **alert["annotations"]}.items():
        assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name)
        assert units(text) <= 2_000
    assert all(alert["labels"].values())


def default_is_kept(value: Any) -> None:  # noqa: ANN401
    assert "\n" not in value["data"]["summary"]


KEPT: dict[str, Callable[[Any], None]] = {
    "default": default_is_kept,
    "cloudevent": default_is_kept,
    "alertmanager": alertmanager_is_kept,
    "pagerduty": pagerduty_is_kept,
    "opsgenie": opsgenie_is_kept,
    "slack": slack_is_kept,
    "teams": teams_is_kept,
    "discord": discord_is_kept,
}
