"""The zip for FunctionGraph: always the same, small, complete, and a function on nothing but a bare Python 3.12.

Building it takes a while, and fetches the lock's wheels where pip has not kept them: `make check-infra` runs this.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import package
from standin import Cloud
from standin.sinks import Mailbox, Receiver

TOP = Path(__file__).parents[2]
DRIVER = Path(__file__).parent / "bare_runtime.py"
# All that lies at the top: the function, and a package or module of each thing that it needs.
THERE = """
    index.py main.py vaultbell
    _cffi_backend.cpython-312-x86_64-linux-gnu.so cffi cryptography pycparser jinja2 markupsafe _yaml yaml
    annotated_types pydantic pydantic_core typing_extensions.py typing_inspection
    certifi charset_normalizer idna requests urllib3
""".split()
LATE = ["cryptography.x509", "jinja2", "yaml", "vaultbell.channels.email", "vaultbell.cloud.smn_trust"]


@pytest.fixture(scope="module")
def python() -> str:
    found = package.find_python()
    if not found:
        pytest.skip("there is no Python 3.12 on this machine")
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip as the command builds it, and what it told."""
    output = tmp_path_factory.mktemp("built") / "vaultbell.zip"
    command = [sys.executable, str(TOP / "infra" / "package.py"), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MiB, sha256 " in done.stdout
    return output


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[package.Wheel]:
    pins = package.locked(TOP / "requirements.txt")
    return package.fetch(pins, package.ROOTS, tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as files:
        return files.namelist()


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    return folder


def run(python: str, folder: Path, settings: dict[str, str], *events: object, token: str | None = None) -> Any:  # noqa: ANN401 - JSON
    """What comes of these events where the zip lies in a folder, on a Python with nothing but its own library."""
    asked = json.dumps({"token": token, "events": events, "imports": LATE if events else []})
    done = subprocess.run(
        [python, "-I", "-S", str(DRIVER), str(folder)],
        input=asked,
        env=settings,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_built_twice_it_is_the_same_to_the_byte(
    archive: Path, wheels: list[package.Wheel], python: str, tmp_path: Path
) -> None:
    code, again = tmp_path / "another" / "folder", tmp_path / "vaultbell.zip"
    package.lay_out(wheels[::-1], code)
    package.compile_all(code, python)
    package.pack(code, again)
    assert again.read_bytes() == archive.read_bytes()
    bill = archive.with_suffix(".cdx.json")
    assert package.bill_of_materials(wheels, again) == json.loads(bill.read_text("utf-8"))


def test_it_is_small(archive: Path) -> None:
    assert archive.stat().st_size < 20 << 20


def test_what_is_needed_is_in_it_and_nothing_else(names: list[str]) -> None:
    assert {name.split("/")[0] for name in names} - {"__pycache__"} == set(THERE)
    beside = {name for name in names if name.endswith((".pyi", ".c", ".h", ".pxd", ".log", ".exe"))}
    assert beside | {name for name in names if ".dist-info/" in name or "/." in name or "tests/" in name} == set()
    ours = {path.relative_to(TOP / "function").as_posix() for path in (TOP / "function").rglob("*") if path.is_file()}
    shipped = {name for name in ours if "__pycache__" not in name and ".egg-info" not in name}
    assert shipped <= set(names)
    assert {name for name in names if name.startswith("vaultbell/") and not name.endswith(".pyc")} <= shipped


def test_compiled_parts_are_for_the_platform(names: list[str]) -> None:
    libraries = [name for name in names if ".so" in name]
    assert len(libraries) >= 5
    assert [name for name in libraries if not re.search(r"\.(cpython-312-x86_64-linux-gnu|abi3)\.so$", name)] == []


def test_every_module_has_its_bytecode_for_good(archive: Path, names: list[str], python: str) -> None:
    del python  # without it there is no bytecode
    sources = {name for name in names if name.endswith(".py")}
    compiled = {name for name in names if name.endswith(".pyc")}
    beside = {re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-312.pyc", name) for name in sources}
    assert compiled == beside
    with zipfile.ZipFile(archive) as files:
        heads = {files.read(name)[4:8] for name in compiled}
        code = files.read("vaultbell/__pycache__/pipeline.cpython-312.pyc")
    assert heads == {(0b01).to_bytes(4, "little")}, "hashed, and never compared"
    assert b"/opt/function/code/vaultbell/pipeline.py" in code


def test_entries_say_nothing_of_the_builder(archive: Path) -> None:
    with zipfile.ZipFile(archive) as files:
        entries = files.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.external_attr >> 16, entry.create_system) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644, 3)
    }


def test_the_bill_of_materials_names_what_the_lock_names(archive: Path) -> None:
    bill = json.loads(archive.with_suffix(".cdx.json").read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    lock = (TOP / "requirements.txt").read_text("utf-8")
    hashes = {part["name"]: part["hashes"][0]["content"] for part in bill["components"]}
    assert len(hashes) == 16
    assert [name for name, digest in hashes.items() if f"--hash=sha256:{digest}" not in lock] == []
    assert [part["name"] for part in bill["components"] if "unknown" in str(part["licenses"])] == []
    told = {ref["ref"]: ref["dependsOn"] for ref in bill["dependencies"]}
    assert told.keys() == {part["bom-ref"] for part in [*bill["components"], bill["metadata"]["component"]]}


SERVER = "1dc0ffee-0000-4000-9000-00000000db01"
QUARTER = timedelta(minutes=15)
NOW = datetime.now(UTC)
# A quarter of an hour that is over, and a moment in it.
START = NOW.replace(minute=NOW.minute // 15 * 15, second=0, microsecond=0) - 3 * QUARTER
WITHIN = START + timedelta(minutes=6)


def alarm(resource: str, at: datetime) -> dict[str, Any]:
    """Cloud Eye's alarm about a resource, as the SMN trigger hands it over."""
    said = {
        "alarm_id": "al1",
        "alarm_status": "alarm",
        "namespace": "SYS.CBR",
        "metric_name": "backupFailed",
        "time": int(at.timestamp() * 1000),
        "template_variable": {"ResourceId": resource},
    }
    return {"record": [{"smn": {"type": "notification", "message": json.dumps(said)}}]}


def tick(at: datetime) -> dict[str, Any]:
    """A tick of the timer, as the templates set it."""
    user_event = json.dumps({"sweep": {"period": "15m", "lag": "5m"}})
    return {
        "trigger_type": "TIMER",
        "trigger_name": "vaultbell-sweep",
        "time": at.isoformat(),
        "user_event": user_event,
    }


def environment(cloud: Cloud, **more: str) -> dict[str, str]:
    """What the templates tell the function, and where the stand-in cloud is."""
    where = {"OS_REGION_NAME": cloud.region, "OS_PROJECT_ID": cloud.project_id, "CBR_ENDPOINT": cloud.cbr_url}
    return where | {"VAULTBELL_UNFINISHED": "leave", "VAULTBELL_TIME_BUDGET": "60s"} | more


def test_an_alarm_and_a_tick_ring(python: str, unpacked: Path, cloud: Cloud, receiver: Receiver) -> None:
    failed = cloud.outcome("failed", resource_id=SERVER, ended_at=WITHIN - QUARTER)
    timed_out = cloud.outcome("timed_out", ended_at=WITHIN)
    events = [alarm(SERVER, WITHIN - QUARTER), tick(START + QUARTER + timedelta(minutes=7))]
    settings = environment(cloud, VAULTBELL_WEBHOOK_URL=f"{receiver.url}/bell")
    came = run(python, unpacked, settings, *events, token=cloud.issue(cloud.project_id)[0])
    assert came["started"] == {"returned": None}
    told = [answer["returned"]["results"] for answer in came["answers"]]
    named = [[(line["operation_log_id"], line["action"]) for line in lines] for lines in told]
    assert named == [[(failed["id"], "notified")], [(timed_out["id"], "notified")]]
    assert [got.json["type"] for got in receiver.requests] == ["cbr.task.failed", "cbr.task.timed_out"]
    assert came["outside"] == []
    assert came["uncompiled"] == []


def test_a_file_of_settings_and_a_mailbox_work_too(
    python: str, unpacked: Path, cloud: Cloud, mailbox: Mailbox, tmp_path: Path
) -> None:
    config = tmp_path / "vaultbell.yaml"
    mail = '{type: email, smtp: "${SMTP_URL}", from: bell@example.org, to: [ops@example.org]}'
    config.write_text(f"channels:\n  mail: {mail}\nroutes:\n  - channels: [mail]\n", "utf-8")
    cloud.outcome("failed", resource_id=SERVER, ended_at=WITHIN)
    smtp_url = f"smtp://127.0.0.1:{mailbox.port}?tls=off"
    settings = environment(cloud, VAULTBELL_CONFIG=str(config), SMTP_URL=smtp_url)
    came = run(python, unpacked, settings, alarm(SERVER, WITHIN), token=cloud.issue(cloud.project_id)[0])
    assert came["answers"][0]["returned"]["results"][0]["action"] == "notified"
    (sent,) = mailbox.wait_for(1)
    assert sent.message["Subject"].startswith("[CRITICAL]")
    assert came["outside"] == []


def test_a_fault_that_may_pass_is_raised_to_the_platform(
    python: str, unpacked: Path, cloud: Cloud, receiver: Receiver
) -> None:
    cloud.outcome("failed", resource_id=SERVER, ended_at=WITHIN)
    receiver.answer(status=503, headers={"Retry-After": "3600"})
    settings = environment(cloud, VAULTBELL_WEBHOOK_URL=f"{receiver.url}/bell")
    came = run(python, unpacked, settings, alarm(SERVER, WITHIN), token=cloud.issue(cloud.project_id)[0])
    assert came["answers"][0]["raised"] == "Transient"


def test_a_mistake_in_the_settings_stops_the_start_and_can_be_read(python: str, unpacked: Path) -> None:
    settings = {"VAULTBELL_WEBHOOK_URL": "hooks.example.org/T0PS3CRET", "VAULTBELL_SWEEP_PERIODE": "15m"}
    started = run(python, unpacked, settings)["started"]
    assert started["raised"] == "SettingsError"
    lines = started["message"].splitlines()
    assert [line.split(":")[0] for line in sorted(lines)] == ["VAULTBELL_SWEEP_PERIODE", "VAULTBELL_WEBHOOK_URL"]
    assert "VAULTBELL_SWEEP_PERIOD meant?" in started["message"]
    assert "T0PS3CRET" not in started["message"]


def test_a_wheel_that_is_not_the_locks_is_refused(tmp_path: Path) -> None:
    pins = package.locked(TOP / "requirements.txt")
    pins["idna"] = re.sub(r"sha256:\w{8}", "sha256:00000000", pins["idna"])
    with pytest.raises(package.PackagingError, match=r"(?i)hashes"):
        package.fetch(pins, ["idna"], tmp_path)


def test_without_the_platforms_python_it_is_built_without_bytecode_and_says_so(
    wheels: list[package.Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "find_python", lambda: None)
    monkeypatch.setattr(package, "fetch", lambda *_: wheels)
    told = package.build(tmp_path / "vaultbell.zip")
    assert "WARNING: there is no Python 3.12" in told[0]
    with zipfile.ZipFile(tmp_path / "vaultbell.zip") as files:
        names = files.namelist()
    assert "index.py" in names
    assert [name for name in names if name.endswith(".pyc")] == []


def test_a_file_of_settings_can_be_put_in(
    wheels: list[package.Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "find_python", lambda: None)
    monkeypatch.setattr(package, "fetch", lambda *_: wheels)
    config = tmp_path / "ours.yaml"
    config.write_text("channels: {}\n", "utf-8")
    package.build(tmp_path / "vaultbell.zip", config)
    with zipfile.ZipFile(tmp_path / "vaultbell.zip") as files:
        assert files.read("vaultbell.yaml") == config.read_bytes()
