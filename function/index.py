"""The function on FunctionGraph: `handler` and `initializer`."""

import os
from functools import cache

from vaultbell import compose, settings
from vaultbell.platforms import functiongraph


@cache
def _app() -> compose.App:
    return compose.app(settings.load(os.environ))


def initializer(context: functiongraph.FunctionContext) -> None:
    """Read the settings, once an instance: a mistake in them stops the start."""
    del context
    _app()


def handler(event: object, context: functiongraph.FunctionContext) -> object:
    """Answer one event of a trigger."""
    return functiongraph.handle(event, context, _app())
