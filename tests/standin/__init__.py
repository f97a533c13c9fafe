"""A stand-in for Open Telekom Cloud: IAM's log-in, CBR's tasks, vaults and policies, with state, a clock, and faults.

In a test: `with mock_cloud() as cloud:` or `@mock_cloud(cloud)` (no sockets, by `responses`), or
`with serve(cloud) as server:` (real HTTP). On its own: `python -m standin --help`. It knows nothing of Vaultbell.
"""

from standin.mock import mock_cloud
from standin.server import serve
from standin.state import Cloud

__all__ = ["Cloud", "mock_cloud", "serve"]
