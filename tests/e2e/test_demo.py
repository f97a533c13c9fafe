"""The demo, as somebody runs it who wants to see the function ring; and that it tells when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import demo
from demo import COLUMNS, HEADINGS, ROWS, WIDTHS

TOP = Path(__file__).parents[2]
FAILED = next(row for row in ROWS if row.event == "outcomes/failed.json")
ANOTHER_SECRET = "whsec_" + "YW5vdGhlci1zZWNyZXQtYW5vdGhlci1zZWNyZXQ="


@pytest.fixture(scope="module")
def output() -> str:
    """What the demo prints when all is well."""
    done = subprocess.run(
        [sys.executable, "tests/demo.py"], cwd=TOP, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def _table(text: str) -> list[list[str]]:
    """The cells of each line from the headings on, up to the first blank line."""
    lines = text[text.index("event  ") :].partition("\n\n")[0].splitlines()
    starts = [sum(WIDTHS[:at]) + 2 * at for at in range(len(WIDTHS))]
    return [[line[start:][: WIDTHS[at]].strip() for at, start in enumerate(starts)] for line in lines]


def test_every_row_is_printed_and_nothing_more(output: str) -> None:
    headings, rule, *rows = _table(output)
    assert tuple(headings) == HEADINGS
    assert set("".join(rule)) == {"-"}
    assert [cells[0].split(",")[0] for cells in rows] == [row.event for row in ROWS]
    assert [(cells[1], cells[2]) for cells in rows] == [(row.answer, row.outcome) for row in ROWS]
    assert [cells[3] for cells in rows] == [f"{row.rings} verified" if row.rings else "-" for row in ROWS]
    assert [cells[4] for cells in rows] == [str(row.rings or "-") for row in ROWS]


def test_the_output_fits_a_terminal(output: str) -> None:
    assert max(map(len, output.splitlines())) <= COLUMNS == 100


def test_the_mail_is_left_where_it_says(output: str) -> None:
    assert "its HTML is in build/demo/failed.html:" in output
    page = (TOP / "build" / "demo" / "failed.html").read_text("utf-8")
    subject = next(line for line in output.splitlines() if line.startswith("    Subject: [CRITICAL] "))
    assert subject.removeprefix("    Subject: [CRITICAL] ") in page
    for heading in ("Since", "Why", "Where to look"):
        assert f">{heading}<" in page


def test_the_readme_shows_what_it_prints(output: str) -> None:
    readme = (TOP / "README.md").read_text("utf-8")
    assert output.partition("\n\nOne of the mails")[0] in readme


def test_what_is_not_as_expected_is_shown_and_fails_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [FAILED._replace(outcome="timed_out"), FAILED._replace(answer="503"), FAILED._replace(rings=2)]
    assert demo.main([FAILED, *wrong], mails=tmp_path) == 1
    output = capsys.readouterr().out
    assert output.endswith("\n3 of 4 rows are not as expected.\n")
    rows = _table(output)[2:]
    seen = ["200", "failed", "1 verified", "1"]
    assert [cells[1:] for cells in rows if cells[0] == FAILED.event] == [seen] * 4
    assert [cells[1:] for cells in rows if cells[0] == "was expected:"] == [
        ["200", "timed_out", "1 verified", "1"],
        ["503", "failed", "1 verified", "1"],
        ["200", "failed", "2 verified", "2"],
    ]


def test_a_signature_by_another_secret_fails_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([FAILED], ANOTHER_SECRET, tmp_path) == 1
    cells, wanted = _table(capsys.readouterr().out)[2:]
    assert cells == [FAILED.event, "200", "failed", "1 FORGED", "1"]
    assert wanted[3] == "1 verified"
