"""The stand-in cloud as a server of its own.

It prints {"url": …} as one line when it is ready, and serves until it is stopped. Besides the cloud's own paths:

  POST /_standin/tasks     add a task: {"outcome": "failed", …} or {"operation_type": …, "status": …,
                           "script": [[0, "waiting"], [5, "running"], [60, "failed"]], …}; answers it
  POST /_standin/vaults    add a vault: {"name": "prod-daily", "resources": ["db-01", {"name": …, "id": …}], …};
                           answers it
  POST /_standin/policies  add a policy: {"name": "daily", "enabled": false, "vaults": ["id of a vault"], …}; answers it
  POST /_standin/faults    {"where": "iam|show|list|vaults|policies|any", "kind": …, "times": 1 or null, …}; the
                           kinds: status, hang, hang_body, reset, truncate, trickle, garbage, not_json, wrong_id,
                           no_log, expired_token, auth_500, redirect, huge, password_expired, user_locked, no_role,
                           key_disabled, key_locked, forbidden; the rest as Cloud.fault takes it
  POST /_standin/clock     {"advance": seconds}
  POST /_standin/reset     forget tasks, vaults, policies, tokens, faults and requests
  GET  /_standin/requests  what was asked, how often, and how many tokens were issued

--seed-demo fills in 00000000-0000-4000-8000-00000000000N, N being 1 succeeded, 2 partial, 3 skipped, 4 failed,
5 timed out, 6 running, 7 overdue, 8 an unknown status, a failed restore, b failed replication, c failed delete,
d vault_delete, e remove_resource and f sync that failed in part; nothing is at 9.
"""

import argparse
import json
import sys
import threading
from contextlib import suppress
from pathlib import Path

if __package__ in (None, ""):  # started by its path: python tests/standin
    sys.path.insert(0, str(Path(__file__).parent.parent))

from standin import Cloud, serve
from standin.logs import seed_demo


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        "standin", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: loopback)")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https with these PEM files")
    parser.add_argument("--seed-demo", action="store_true", help="fill in a task for each outcome")
    given = parser.parse_args()
    cloud = Cloud()
    if given.seed_demo:
        seed_demo(cloud)
    with serve(cloud, given.port, tuple(given.tls) if given.tls else None, given.host) as server:
        print(json.dumps({"url": server.url}), flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
