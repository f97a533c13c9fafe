"""Fixtures for end-to-end tests: worlds that the tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import worlds
from worlds import NewWorld, World


@pytest.fixture(scope="module")
def new_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewWorld]:
    """Starts worlds (as `worlds.world` says) that end with the module."""
    made: list[World] = []

    with ExitStack() as stack:

        def new(**how: Any) -> World:  # noqa: ANN401 - as `worlds.world` takes it
            made.append(stack.enter_context(worlds.world(tmp_path_factory.mktemp("world"), **how)))
            return made[-1]

        yield new
        for world in made:  # all at once: each takes about a second to stop
            world.function.process.terminate()
