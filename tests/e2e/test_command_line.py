"""What all commands have in common: help that is true, exit statuses, JSON, completion, and nothing that acts on a
terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import manual
from desk import Desk, NewDesk
from serving import FUNCTION, environment
from standin import Cloud
from standin.sinks import Receiver
from vaultbell import cli

TOP = Path(__file__).parents[2]
SILENT = {"completion", "consume", "queue send"}  # what they print is for a shell, a log, or nothing


def words(text: str) -> str:
    """A text without its line breaks and indents, in which Pythons differ."""
    return " ".join(text.split())


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    return new_desk({})


def test_the_manual_page_says_what_help_says() -> None:
    page = manual.PAGE.read_text("utf-8")
    assert words(manual.renewed(page)) == words(page), "tests/manual.py writes it anew"


def test_the_manual_page_has_every_command() -> None:
    shown = [found[1] for found in manual.HELP.finditer(manual.PAGE.read_text("utf-8"))]
    assert sorted(shown) == sorted(manual.commands())


@pytest.mark.parametrize("command", manual.commands())
def test_every_help_says_what_the_exit_status_means(command: str) -> None:
    told = manual.statuses(command)
    assert {0, 2} <= told.keys() <= {0, 1, 2, 3}
    assert all(told.values())


@pytest.mark.parametrize("command", [name for name in manual.commands() if name not in SILENT])
def test_every_command_that_prints_something_prints_json_as_well(command: str) -> None:
    assert re.search(r"^  --json ", manual.help_of(command), re.MULTILINE)


def test_what_is_shown_in_the_manual_are_commands_and_options_that_there_are() -> None:
    page = manual.PAGE.read_text("utf-8")
    typed = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(typed) >= 9
    for line in typed:
        (command, rest) = re.findall(r"vaultbell (\w+)(.*)", line.partition("#")[0])[0]
        told = manual.help_of(command)
        assert not [option for option in re.findall(r"--[\w-]+", rest) if option not in told], line


def test_nothing_that_is_optional_or_dear_is_imported_before_it_is_used() -> None:
    script = "import sys, vaultbell.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment({"PYTHONPATH": str(FUNCTION)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not {"tqdm", "shtab", "kombu", "redis", "apprise", "cryptography", "jinja2"} & set(done.stdout.split())


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_shell_gets_every_command_and_its_options(desk: Desk, shell: str) -> None:
    done = desk("completion", shell)
    assert (done.status, done.err) == (0, "")
    assert all(cli.name_of(command) in done.out for command in cli.COMMANDS)
    assert all(option in done.out for option in ("dead-letters", "since", "format"))


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (("pre",), ["preview"]),
        (("preview", "--for"), ["--format"]),
        (("preview", "--format", "pager"), ["pagerduty"]),
        (("queue", "red"), ["redrive"]),
        (("sweep", "--svg", "READ"), ["README.md"]),
    ],
)
def test_bash_completes_what_is_typed(desk: Desk, typed: tuple[str, ...], wanted: list[str]) -> None:
    script = desk("completion", "bash").out
    script += f"\nCOMP_WORDS=(vaultbell {' '.join(typed)})\nCOMP_CWORD={len(typed)}\n"
    script += '_shtab_vaultbell\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=TOP, timeout=20, check=False)
    assert done.stdout.split() == wanted, done.stderr


def test_without_the_extra_it_says_what_to_install(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    done = desk("completion", "bash")
    assert (done.status, done.out) == (2, "")
    assert done.err == "vaultbell: completion needs shtab: pip install 'vaultbell[cli]'\n"


# Terminals


def test_a_path_cannot_act_on_the_terminal(desk: Desk) -> None:
    done = desk("lookup", "--log", "x", VAULTBELL_CONFIG="/no/\x1b[2J\x9b")
    assert done.status == 2
    assert "/no/ [2J" in done.err
    assert not {"\x1b", "\x9b"} & set(done.err)


def test_letters_that_a_terminal_has_not_are_no_error(cloud: Cloud) -> None:
    task = cloud.outcome("failed", resource_name="Käse ☃")["id"]
    done = subprocess.run(
        [sys.executable, "-m", "vaultbell.cli", "lookup", task],
        env=environment(cloud.env() | {"PYTHONPATH": str(FUNCTION), "PYTHONIOENCODING": "ascii"}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"what      Backup of K\\xe4se \\u2603" in done.stdout


# Wrong use


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the body is not JSON"),
        (b"\x00\xff" * 100, "the body is not UTF-8"),
        (b"a" * 5_000_000, "the body is not JSON"),
        (b"[" * 50_000, "the JSON is nested too deeply"),
        (b"[" + b"{}," * 200_000 + b"{}]", "the JSON has too many values"),
        (b"9" * 5_000, "the body is not JSON"),
        (None, "cannot be read: No such file or directory"),
    ],
    ids=["empty", "no text", "large", "deep", "very many", "a long number", "not there"],
)
@pytest.mark.parametrize(
    "command",
    [("explain",), ("preview",), ("lookup", "--log"), ("preview", "--log"), ("replay", "--dry-run")],
    ids=" ".join,
)
def test_a_file_that_holds_nothing_of_use_costs_a_line(
    new_desk: NewDesk, cloud: Cloud, tmp_path: Path, command: tuple[str, ...], content: bytes | None, why: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    done = new_desk(cloud.env())(*command, str(file))
    if command[0] == "replay" and content is not None:  # one of many, perhaps
        assert (done.status, done.err) == (1, "")
        assert why in done.out.splitlines()[0]
    else:
        assert (done.status, done.out) == (2, "")
        assert why in done.err
        assert len(done.err.splitlines()) == 1


def test_what_the_log_has_to_say_is_said_for_the_eye_and_beside_the_output(cloud: Cloud, receiver: Receiver) -> None:
    receiver.answer("/alive", 410)
    done = subprocess.run(
        [sys.executable, "-m", "vaultbell.cli", "sweep", "--json"],
        env=environment(
            cloud.env()
            | {
                "PYTHONPATH": str(FUNCTION),
                "VAULTBELL_WEBHOOK_URL": receiver.url,
                "VAULTBELL_HEARTBEAT_URL": f"{receiver.url}/alive",
            }
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["results"]) == (0, [])
    assert re.fullmatch(r"[\d:]+ WARNING no heartbeat status=410 trace_id=\w+\n", done.stderr)


# Ended half-way


def test_ctrl_c_ends_a_command_whatever_hangs(cloud: Cloud, receiver: Receiver) -> None:
    for _ in range(3):
        cloud.outcome("failed", ended_at=datetime.now(UTC) - timedelta(hours=1))
    receiver.answer(kind="hang", seconds=60)
    command = [sys.executable, "-m", "vaultbell.cli", "sweep", "--since", "2h"]
    more = {"PYTHONPATH": str(FUNCTION), "VAULTBELL_WEBHOOK_URL": receiver.url, "VAULTBELL_HISTORY": "false"}
    env, pipe = environment(cloud.env() | more), subprocess.PIPE
    # a shell starts what is to run behind it deaf to Ctrl-C, and so is whatever that starts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe) as process:
        signal.signal(signal.SIGINT, before)
        try:
            receiver.wait_for(2, 30)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=8) == (b"", b"")  # a try lasts 10 s, and there are three
            assert process.returncode == cli.INTERRUPTED
        finally:
            process.kill()


def test_ctrl_c_ends_a_command_before_it_has_begun() -> None:
    script = "import builtins, sys\nreal = builtins.__import__\n"
    script += "def ended(name, *more):\n    if name == 'vaultbell.budget': raise KeyboardInterrupt\n"
    script += "    return real(name, *more)\nbuiltins.__import__ = ended\nimport vaultbell.cli"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment({"PYTHONPATH": str(FUNCTION)}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (cli.INTERRUPTED, b"", b"")


@pytest.mark.parametrize("arguments", ["doctor --json --offline", "tail {lines}", "replay --dry-run {lines}", "--help"])
def test_whoever_has_read_enough_hears_of_no_error(tmp_path: Path, cloud: Cloud, arguments: str) -> None:
    lines = tmp_path / "lines"
    lines.write_text('{"message": "words"}\n' * 5_000)
    command = f"{sys.executable} -m vaultbell.cli {arguments.format(lines=lines)} | head -1"
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment(cloud.env() | {"PYTHONPATH": str(FUNCTION), "VAULTBELL_WEBHOOK_URL": "http://127.0.0.1:9/"}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, b"")


# Without the cloud


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", 0), ("failed", 1), ("overdue", 1), ("missing", 1), ("partial", 1)]
)
def test_a_saved_answer_can_be_looked_up(desk: Desk, outcome: str, status: int) -> None:
    done = desk("lookup", "--log", str(TOP / "events" / "operation-logs" / f"{outcome}.json"), "--json")
    assert (done.status, done.json["outcome"]) == (status, outcome)


def test_the_body_of_a_webhook_can_be_looked_up(desk: Desk) -> None:
    body = desk("preview", "--log", str(TOP / "events" / "operation-logs" / "failed.json")).json
    body["data"] |= {"failures_in_row": 3, "last_good_at": "2025-11-20T02:31:00Z"}
    done = desk.fed(json.dumps(body).encode(), "lookup", "--log", "-")
    assert done.status == 1
    assert "third failure in a row; last good backup 2025-11-20 02:31 UTC" in done.out


@pytest.mark.parametrize("arguments", [(), ("00000000-0000-4000-8000-000000000004", "--log", "x")])
def test_a_task_or_a_saved_answer_is_wanted(desk: Desk, arguments: tuple[str, ...]) -> None:
    done = desk("lookup", *arguments)
    assert (done.status, done.err) == (2, "vaultbell: either TASK_ID or --log is wanted\n")
