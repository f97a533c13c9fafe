"""A process that sweeps, and takes batches of a message queue's trigger, as often as it is told to; see `worker.py`."""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import count
from pathlib import Path

from bench.cloud import event
from bench.peers import PROJECT, settings

numbers = count()


def peak() -> int:
    """The most memory that this process has had since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def forget_peak() -> None:
    """From now on; see proc(5)."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def main(url: str, sizes: list[int]) -> None:
    """Answer each line with one. The projects that may be swept are those of so many tasks."""
    from vaultbell import compose  # noqa: PLC0415 - it is found by the path of this process
    from vaultbell import settings as settings_  # noqa: PLC0415
    from vaultbell.platforms import functiongraph  # noqa: PLC0415
    from vaultbell.platforms.functiongraph import HeaderContext  # noqa: PLC0415

    projects = ",".join(f"{size:032x}" for size in sorted({1_000, *sizes} - {0}))
    more = {"VAULTBELL_PROJECTS": projects, "VAULTBELL_TIME_BUDGET": "600"}
    more["VAULTBELL_HISTORY"] = os.environ.get("VAULTBELL_HISTORY", "false")
    app = compose.app(settings_.load(settings(url, None) | more))
    context = HeaderContext({})
    print(json.dumps({"ready": "bulk"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        messages = [event(PROJECT, next(numbers)).decode() for _ in range(asked.get("batch", 0))]
        batch: object = {"trigger_type": "KAFKA", "records": [{"messages": messages}]}
        if "sweep" in asked:
            batch = {"sweep": {"at": asked["at"], "project_id": f"{asked['sweep']:032x}"}}
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        report = functiongraph.handle(batch, context, app)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        swept = report.get("swept")
        results = report["results"]
        told = {
            "wall": wall,
            "cpu": cpu,
            "peak": peak(),
            "results": len(results) if isinstance(results, list) else 0,
        }
        print(json.dumps(told | {"tasks": swept["tasks"] if isinstance(swept, dict) else 0}), flush=True)


if __name__ == "__main__":
    main(sys.argv[2], [int(size) for size in sys.argv[1].split(",")])
