"""The bench itself: processes on CPUs of their own, and the questions that they are asked.

What is measured runs on the first CPU, everything else on the second. Whatever is compared is measured in turns, one
round after the other, and compared within its round: the machine's own speed drifts by more than what is looked for.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlencode

TOP = Path(__file__).parents[2]
BUILD = TOP / "build" / "bench"
PRODUCT = BUILD / "product" / "bin" / "python"  # the environment that is deployed, and nothing else
PEERS = BUILD / "peers" / "bin" / "python"
OURS = ("OS_", "VAULTBELL_", "CBR_", "RUNTIME_PROJECT_ID", "PYTHON")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without proxies and settings, and these."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OURS) and not k.lower().endswith("_proxy")}
    # what a library keeps between two runs (stevedore does), it keeps here
    return {**kept, "XDG_CACHE_HOME": str(BUILD / "cache"), **settings}


def cpus() -> tuple[set[int], set[int]]:
    """The CPU for what is measured, and the one for the rest; the same where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[-1]}


@dataclass
class Worker:
    """A process of `bench.worker`."""

    process: subprocess.Popen[str]

    def work(self, events: int, threads: int = 1) -> dict[str, float]:
        """Handle so many events: `wall` and `cpu` are seconds, `resident` bytes."""
        return self.ask({"events": events, "threads": threads})

    def ask(self, question: Mapping[str, object]) -> dict[str, float]:
        """Any question, and its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.told()

    def told(self) -> dict[str, Any]:
        """The next line of its standard output."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a worker ended: see its log in build/bench")
        told: dict[str, Any] = json.loads(line)
        return told


@dataclass
class Lab:
    """Everything that measurements share; a context manager. `quick`: a tenth of the time, and of the certainty."""

    quick: bool = False
    _stack: ExitStack = field(default_factory=ExitStack)
    _port: int = 0
    url: str = ""
    tls_url: str = ""
    at: str = ""

    def __enter__(self) -> Self:
        BUILD.mkdir(parents=True, exist_ok=True)
        self.measured, self.rest = cpus()
        os.sched_setaffinity(0, self.rest)
        certificate, key = self.certificate
        process = self._start([PEERS, "-m", "bench.cloud", certificate, key], self.rest, "cloud", {})
        hello = Worker(process).told()
        plain, tls = hello["ports"]
        self._port, self.at = plain, hello["at"]
        self.url, self.tls_url = f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def rounds(self, full: int, quick: int = 3) -> int:
        """How often something is measured."""
        return quick if self.quick else full

    def ask(self, question: str, **arguments: object) -> Any:  # noqa: ANN401 - the cloud's JSON
        """One of the cloud's own questions."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        connection.request("GET", f"/-/{question}?{urlencode(arguments)}")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    @contextmanager
    def rung(self, events: int) -> Iterator[None]:
        """Within, so many events are rung. Raises RuntimeError if it were more or less, or something else was told."""
        self.ask("reset")
        yield
        rung, message = self.ask("counts").get("hook", 0), json.loads(self.ask("hook"))
        if rung != events or message["data"]["outcome"] != "failed" or "operation_log" not in message["data"]:
            raise RuntimeError(f"{rung} rang of {events}, at last {message}")

    @contextmanager
    def latency(self, seconds: float) -> Iterator[None]:
        """Within, the cloud takes so long for each answer."""
        self.ask("latency", seconds=seconds)
        try:
            yield
        finally:
            self.ask("latency", seconds=0)

    def worker(self, name: str, *, tls: bool = False, module: str = "bench.worker", **settings: str) -> Worker:
        """A process that handles events in the way of one of the peers, warm."""
        command: list[str | Path] = [PEERS, "-m", module, name, self.tls_url if tls else self.url]
        command += [str(self.bundle)] if tls else []
        worker = Worker(self._start(command, self.measured, f"{module}-{name}{'-tls' if tls else ''}", settings))
        worker.told()
        return worker

    def end(self, workers: Sequence[Worker]) -> None:
        """They are not needed any more."""
        for worker in workers:
            assert worker.process.stdin
            worker.process.stdin.close()
            worker.process.wait(20)

    def _start(
        self, command: Sequence[str | Path], cpus: set[int], log: str, settings: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        paths = {"PYTHONPATH": os.pathsep.join((str(TOP / "tests"), str(TOP / "function")))}
        with (BUILD / f"{log}.log").open("w") as file:
            process = self.pinned(command, cpus, file, environment({**paths, **settings}))
        self._stack.callback(_end, process)
        return process

    def pinned(
        self, command: Sequence[str | Path], cpus: set[int], log: IO[str] | int, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        """A process on these CPUs, from its first instruction on."""
        os.sched_setaffinity(0, cpus)
        try:
            pipe = subprocess.PIPE
            return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment)
        finally:
            os.sched_setaffinity(0, self.rest)

    @cached_property
    def certificate(self) -> tuple[Path, Path]:
        """The server's certificate, which is its own CA, and its key."""
        from cryptography import x509  # noqa: PLC0415 - the benchmark's own environment has it
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        files = BUILD / "server.pem", BUILD / "server.key"
        files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    @cached_property
    def bundle(self) -> Path:
        """As many CAs as everybody trusts, and the server's."""
        import certifi  # noqa: PLC0415

        file = BUILD / "bundle.pem"
        file.write_bytes(Path(certifi.where()).read_bytes() + self.certificate[0].read_bytes())
        return file

    @cached_property
    def function(self) -> Path:
        """`function/` as it is deployed, with its bytecode, so that nobody's edits are in the way."""
        return deployed(TOP / "function", BUILD / "function")


def deployed(source: Path, folder: Path) -> Path:
    """A copy of a function, compiled."""
    subprocess.run(["rm", "-rf", folder], check=True)
    subprocess.run(["cp", "-r", source, folder], check=True)
    subprocess.run([PRODUCT, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder], check=True)
    return folder


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@dataclass
class Server:
    """A function under functions-framework's production server. `began` is when its process was started."""

    process: subprocess.Popen[str]
    port: int
    began: float

    def connect(self) -> socket.socket:
        """A connection, as soon as somebody listens."""
        while self.process.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 30)
            except OSError:
                time.sleep(0.001)
        raise RuntimeError("a function did not start: see its log in build/bench")

    @property
    def worker(self) -> int:
        """The process that serves: the server's one child, which comes some time after it began to listen."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (children := file.read_text("ascii").split()):
            time.sleep(0.01)
        return int(children[0])

    @property
    def cpu(self) -> float:
        """The seconds of CPU that the serving process has used."""
        # by the clock of another process (clock_getcpuclockid(3)): /proc tells hundredths of a second
        return time.clock_gettime(~self.worker << 3 | 2)

    @property
    def resident(self) -> int:
        """The memory that the serving process has, in bytes."""
        return int(Path(f"/proc/{self.worker}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(lab: Lab, source: Path, settings: Mapping[str, str], python: Path = PRODUCT) -> Iterator[Server]:
    """Start a function, with eight threads; it is stopped at the end."""
    port = free_port()
    command: list[str | Path] = [python, "-m", "functions_framework", "--source", source / "main.py"]
    command += ["--target", "handle", "--host", "127.0.0.1", "--port", str(port)]
    with (BUILD / f"server-{source.name}.log").open("w") as log:
        began = time.perf_counter()
        process = lab.pinned(command, lab.measured, log, environment({"THREADS": "8", **settings}))
    try:
        yield Server(process, port, began)
    finally:
        process.terminate()
        process.wait(20)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def say(words: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"  {words}\n")
    sys.stderr.flush()
