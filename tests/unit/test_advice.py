"""What to do next: a step for every error code of the reference and for every outcome that rings; a link that leads."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultbell.advice import UNREADABLE_ALARM, link, next_step
from vaultbell.outcome import OutcomeName

# "Error Codes" of the CBR API reference.
CODES = """
0001 0002 1005 1006 1011 2001 2002 2003 2005 2007 2008 2009 2010 2011 2012 2013 2014 2015 4001 4004 4005 4006 4007
6000 6001 6002 6003 6100 6101 6102 6103 6104 6105 6106 6107 6108 6109 6110 6111 6112 6113 6114 6115 6116 6117 6118
6119 6120 6121 6122 6123 6124 6125 6126 6127 6128 6129 6130 6131 6132 6133 6134 6135 6136 6137 6138 6139 6140 6141
6142 6200 6201 6202 6203 6204 6206 6207 6208 6209 6210 6211 6212 6213 6214 6215 6216 6217 6220 6300 6301 6302 6400
6401 6402 6403 6404 6405 6406 6407 6408 6500 6501 6600 6601 6700 6701 6702 6703 6704 6705 6706 6707 6708 6709 6710
6711 6712 6713 6714 7000 7001 7002 7003 7004 7006 7007 7008 7009 7100 7101 7102 7103 7104 7105 7106 7107 7108 7109
7110 7111 7113 7114 7115 7116 7117 7200 7201 7202 7203 7204 7300 7301 7302 7303 8300 8400 8600 9900 9910 9998
""".split()
BAD = [name for name in OutcomeName if name not in (OutcomeName.SUCCEEDED, OutcomeName.RUNNING)]
SENTENCES = r"[A-Z][^.!?]+\.( [A-Z][^.!?]+\.)?"


def test_every_code_of_the_reference_has_a_step_of_its_own() -> None:
    assert len(CODES) == len(set(CODES)) == 160
    fallback = next_step("failed")
    for code in CODES:
        step = next_step("failed", f"BackupService.{code}")
        assert step
        assert step != fallback, code
        assert re.fullmatch(SENTENCES, step), step
        assert len(step) <= 160


@pytest.mark.parametrize("name", BAD)
def test_an_outcome_without_a_code_has_a_step_too(name: OutcomeName) -> None:
    step = next_step(name)
    assert step
    assert re.fullmatch(SENTENCES, step)
    assert step == next_step(name, None) == next_step(name, "") == next_step(name, "BackupService.0000")
    assert step != next_step(name, "BackupService.7102")


def test_outcomes_are_not_mixed_up() -> None:
    assert len({next_step(name) for name in BAD} | {UNREADABLE_ALARM}) == len(BAD) + 1


@pytest.mark.parametrize("name", ["succeeded", "running", "digest", ""])
def test_where_nothing_is_wrong_nothing_is_to_be_done(name: str) -> None:
    assert next_step(name) is None
    assert next_step(name, "BackupService.7102") is None


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("BackupService.6114", "Expand the vault"),
        ("BackupService.6129", "destination vault"),
        ("BackupService.7102", "Start the server"),
        ("BackupService.6125", "Wait"),
        ("BackupService.6302", "deleted"),
        ("BackupService.2001", "at least as large"),
        ("BackupService.9910", "support ticket"),
        ("BackupService.9998", "credentials"),
    ],
)
def test_a_step_fits_its_code(code: str, word: str) -> None:
    assert word in (next_step("failed", code) or "")


@given(st.text())
def test_a_code_that_is_none_never_hurts(code: str) -> None:
    assert next_step("failed", code)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-de", "console.otc.t-systems.com"),
        ("eu-nl", "console.otc.t-systems.com"),
        ("eu-ch2", "console.sc.otc.t-systems.com"),
        ("eu-west-101", "console.eu.huaweicloud.com"),
        ("cn-north-4", "console.huaweicloud.com"),
    ],
)
def test_a_link_leads_to_the_console_of_the_region(region: str, host: str) -> None:
    parts = urlsplit(link(region) or "")
    assert (parts.scheme, parts.netloc, parts.path) == ("https", host, "/cbr/")
    assert parse_qs(parts.query) == {"region": [region]}


def test_without_a_region_there_is_no_link() -> None:
    assert link(None) is link("") is None
