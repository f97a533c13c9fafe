"""make audit: pip-audit's own client, and an advisory service that the test speaks for."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import audit
from standin import ports
from standin.server import Server
from standin.state import Answer

HASH = "0" * 64
LOCK = f"six==1.16.0 \\\n    --hash=sha256:{HASH}\nold==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:{HASH}\n"


def service(*advisories: Mapping[str, object], status: int = 200) -> Server:
    """OSV's, that knows these of every package."""
    body = json.dumps({"vulns": list(advisories)} if advisories else {}).encode()
    return Server(lambda *_: Answer(status, {"Content-Type": "application/json"}, body))


def osv(port: int) -> list[str]:
    return ["--vulnerability-service=osv", f"--osv-url=http://127.0.0.1:{port}/v1/query"]


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "requirements.txt"
    file.write_text(LOCK)
    return file


BAD = {
    "id": "TEST-2026-1",
    "summary": "It is not well.",
    "affected": [
        {"package": {"name": "six", "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "2"}]}]}
    ],
}


def test_what_is_known_against_a_package_is_told_and_fails(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(BAD) as there:
        assert audit.main(osv(there.port), lock, []) == 1
    assert "six 1.16.0: TEST-2026-1, fixed by 2\n1 packages audited, 1 advisories" in capsys.readouterr().out


def test_where_nothing_is_known_that_is_good_news(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service() as there:
        assert audit.main(osv(there.port), lock, [lock]) == 0
    assert capsys.readouterr().out.startswith("1 packages audited, 0 advisories")


def test_a_service_that_is_away_fails_nothing_and_is_told_of(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(osv(ports.unused()), lock, []) == 0
    with service(status=503) as there:
        assert audit.main(osv(there.port), lock, []) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOT AUDITED: ")]
    assert len(told) == 2


def test_a_service_that_hangs_holds_up_nothing_for_long(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        assert audit.main([*osv(there.getsockname()[1]), "--timeout=1"], lock, []) == 0
        run, limits = subprocess.run, []

        def impatient(command: list[str], timeout: float, **_: bool) -> subprocess.CompletedProcess[str]:
            limits.append(timeout)
            seconds = timeout if "--dry-run" in command else 0.1
            return run(command, capture_output=True, text=True, timeout=seconds, check=False)

        monkeypatch.setattr(subprocess, "run", impatient)
        assert audit.main(osv(there.getsockname()[1]), lock, []) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOT AUDITED: ")]
    assert len(told) == 2
    assert sum(limits) < 600


def test_every_lock_of_the_repository_is_audited() -> None:
    named = {path.relative_to(audit.TOP).as_posix() for path in (audit.DEPLOYED, *audit.OTHERS)}
    assert named == set(re.findall(r"--output-file (\S+)", (audit.TOP / "Makefile").read_text("utf-8")))


def test_a_lock_that_cannot_be_read_fails(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock.write_text("six>=1\n")
    assert audit.main(osv(ports.unused()), lock, []) == 2
    assert "cannot be read" in capsys.readouterr().out
