"""A Redis for the tests: the one that is there, or one of their own on a free port, which they may also break."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis, RedisError

from integration.broker import missing
from standin.ports import unused

GIVEN = os.environ.get("VAULTBELL_TEST_REDIS_URL", "")
USUAL = "redis://127.0.0.1:6379"
STARTS_WITHIN = 15.0


def usual() -> str | None:
    """The address of a Redis that is there for the tests, if one is."""
    return GIVEN or (USUAL if answers(USUAL) else None)


def answers(url: str) -> bool:
    """Whether a Redis is there, and lets us in."""
    try:
        with closing(Redis.from_url(url, socket_timeout=2)) as client:
            return bool(client.ping())
    except RedisError:
        return False


@dataclass(slots=True)
class OwnRedis:
    """A redis-server on loopback that keeps nothing on the disk. `options` are its own: `--requirepass`, say."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=unused)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, without a password."""
        return f"redis://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start it, and wait until it listens. Where it is not installed, the test is left out."""
        if not (program := shutil.which("redis-server")):
            missing("redis-server is not installed")
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self.folder)]
        with (self.folder / "out").open("ab") as out:
            process = subprocess.Popen([*command, *self.options], stdout=out, stderr=out)
        self.process = process
        until = time.monotonic() + STARTS_WITHIN
        while b"Ready to accept connections" not in (said := (self.folder / "out").read_bytes()):
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError(f"Redis did not start:\n{said.decode(errors='replace')}")
            time.sleep(0.01)  # nothing tells when it begins to listen
        (self.folder / "out").write_bytes(b"")

    def hang(self) -> None:
        """Let it answer nothing, though it is there."""
        if self.process:
            self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a failing machine does; what it knew is lost."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def own_redis(folder: Path, *options: str) -> Iterator[OwnRedis]:
    """A Redis of the tests' own, to be broken at will; it has begun."""
    redis = OwnRedis(folder, options)
    try:
        redis.begin()
        yield redis
    finally:
        redis.kill()
