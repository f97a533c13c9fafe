"""The function on FunctionGraph: `handler` and `initializer`."""

import gc
import os
import sys
from functools import cache
from pathlib import Path

# What was shipped with the function comes before what the platform has of the same name, an older requests above all.
sys.path.insert(0, str(Path(__file__).parent))

gc.disable()  # nothing that is imported is garbage, and to look for some takes a tenth of a cold start

from vaultbell import compose, settings  # noqa: E402 - see above
from vaultbell.platforms import functiongraph  # noqa: E402 - see above

gc.freeze()  # what is there now stays
gc.enable()


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
