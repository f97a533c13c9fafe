"""The queue soak with a RabbitMQ of three nodes: one is killed, one is cut off from the others, and one from everybody.

Each node has a network of its own (a namespace) on a bridge, in a network that this process begins: what is cut is a
link of theirs. Linux and iproute2 are needed, and the right to make namespaces: root's, or a user's own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from integration.broker import server
from soak import queued, sender
from soak.ledger import Balance
from soak.queued import Mishap, Plan
from soak.scenario import Scenario

SIZE, BASE, PORT = 3, "10.90.0", 5672
STARTS_WITHIN = 90.0
COMES_BACK_WITHIN = 40.0
LASTS = 12.0  # seconds that a node is away: until the others have done without it for some time
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"  # Debian's own rabbitmqctl changes the user
CONFIG = """
listeners.tcp.1 = 0.0.0.0:{port}
loopback_users = none
cluster_formation.peer_discovery_backend = classic_config
{nodes}
cluster_partition_handling = pause_minority
"""
ADVANCED = "[{kernel, [{net_ticktime, 6}]}]."


@dataclass
class Node:
    """One node of the cluster, in a network of its own."""

    number: int
    folder: Path
    net: subprocess.Popen[bytes]  # whoever keeps the network
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it is on the bridge."""
        return f"{BASE}.{self.number}"

    @property
    def url(self) -> str:
        """Where it takes messages."""
        return f"amqp://guest:guest@{self.address}:{PORT}//"

    @property
    def env(self) -> dict[str, str]:
        """What makes a node itself."""
        own = self.folder / str(self.number)
        own.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),  # the cookie is there
            "RABBITMQ_NODENAME": f"rabbit@{self.address}",
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_MNESIA_BASE": str(own / "data"),
            "RABBITMQ_LOG_BASE": str(own / "log"),
            "RABBITMQ_PID_FILE": str(own / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
        }

    def begin(self) -> None:
        """Start it, with the data that it has."""
        with (self.folder / f"out-{self.number}").open("ab") as out:
            self.processes = [
                subprocess.Popen(self.within(*command), env=self.env, stdout=out, stderr=out, start_new_session=True)
                for command in server() or []
            ]

    def kill(self) -> None:
        """End it as a failing machine does."""
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self.processes = []

    def is_whole(self, within: float) -> bool:
        """Whether all nodes know each other, at last, in its eyes."""
        command = [CONTROL, "--longnames", "--node", f"rabbit@{self.address}", "await_online_nodes", str(SIZE)]
        until = time.monotonic() + within
        while subprocess.run(self.within(*command), env=self.env, check=False, capture_output=True).returncode:
            if time.monotonic() > until:
                return False
            time.sleep(1)  # it has stopped itself, and has not begun yet
        return True

    def within(self, *command: str) -> Sequence[str]:
        """The command that does this in the node's network."""
        return ["nsenter", "--target", str(self.net.pid), "--net", *command]

    def cut(self) -> None:
        """Cut its way to the other nodes; clients still reach it."""
        self._ways("add")

    def mend(self) -> None:
        """After `cut`."""
        self._ways("del")

    def _ways(self, what: str) -> None:
        for other in range(1, SIZE + 1):
            if other != self.number:
                subprocess.run(self.within("ip", "route", what, "blackhole", f"{BASE}.{other}/32"), check=True)

    def unplug(self) -> None:
        """Cut its link."""
        ip("link", "set", f"node{self.number}", "down")

    def plug(self) -> None:
        """After `unplug`."""
        ip("link", "set", f"node{self.number}", "up")


def ip(*arguments: str) -> None:
    """iproute2, on our side."""
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def nodes(folder: Path) -> Iterator[list[Node]]:
    """A cluster that has begun."""
    (folder / "plugins").write_text("[].")
    (folder / "advanced.config").write_text(ADVANCED)
    known = (f"cluster_formation.classic_config.nodes.{n} = rabbit@{BASE}.{n}" for n in range(1, SIZE + 1))
    (folder / "rabbitmq.conf").write_text(CONFIG.format(port=PORT, nodes="\n".join(known)))
    cookie = folder / ".erlang.cookie"
    cookie.write_text("soak")
    cookie.chmod(0o400)
    ip("link", "set", "lo", "up")
    ip("link", "add", "nodes", "type", "bridge")
    ip("address", "add", f"{BASE}.254/24", "dev", "nodes")
    ip("link", "set", "nodes", "up")
    made: list[Node] = []
    try:
        for number in range(1, SIZE + 1):
            made.append(Node(number, folder, subprocess.Popen(["unshare", "--net", "sleep", "infinity"])))
            _connect(made[-1])
        for node in made:
            node.begin()
        yield made
    finally:
        for node in made:
            node.kill()
            node.net.kill()


def _connect(node: Node) -> None:
    ours, theirs = Path("/proc/self/ns/net").readlink(), Path(f"/proc/{node.net.pid}/ns/net")
    until = time.monotonic() + 5
    while theirs.readlink() == ours and time.monotonic() < until:
        time.sleep(0.01)  # nothing tells when it has left ours
    ip("link", "add", f"node{node.number}", "type", "veth", "peer", "name", "eth0", "netns", str(node.net.pid))
    ip("link", "set", f"node{node.number}", "master", "nodes", "up")
    for what in (
        ["link", "set", "lo", "up"],
        ["address", "add", f"{node.address}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
    ):
        subprocess.run(node.within("ip", *what), check=True)


def soak(scenario: Scenario, *, short: bool = False) -> Balance:
    """In a network of its own: each of the three mishaps befalls another node."""
    del short
    with tempfile.TemporaryDirectory() as name, nodes(Path(name)) as made:
        first, second, third = made
        _wait_for(first)
        first.is_whole(STARTS_WITHIN)

        mishaps: list[Mishap] = [
            (0.15, "a node is killed, and comes back", lambda: _away(first, first.kill, first.begin)),
            (0.4, "a node is cut off from the others", lambda: _away(second, second.cut, second.mend)),
            (0.65, "a node is cut off from everybody", lambda: _away(third, third.unplug, third.plug)),
        ]
        urls = [node.url for node in made]
        plan = Plan(processes=2, lost_every=8.0, mishaps=mishaps, backlog=1_000)
        return queued.run(scenario, urls, plan, ";".join(urls))


def _away(node: Node, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """The others do without this node; the next mishap has to wait until all are there again."""
    begin()
    time.sleep(LASTS)
    end()
    while not node.is_whole(COMES_BACK_WITHIN):  # what an operator would do
        print(
            f"       node {node.number} has not come back by itself, and is started anew", file=sys.stderr, flush=True
        )
        node.kill()
        node.begin()


def _wait_for(node: Node) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        with suppress(Exception):  # it is not there yet, in whichever way
            sender.connection(node.url).close()
            return
        time.sleep(0.2)
    raise RuntimeError((node.folder / f"out-{node.number}").read_text(errors="replace"))
