"""A peer as a function: BENCH_PEER is its name, BENCH_URL where its cloud and its receiver are."""

import os

from flask import Request

from bench.peers import PEERS

_PEER = PEERS[os.environ["BENCH_PEER"]](os.environ["BENCH_URL"], None)


def handle(request: Request) -> str:
    """Handle one event."""
    return _PEER.handle(request.get_data())
