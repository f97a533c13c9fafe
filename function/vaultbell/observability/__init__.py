"""What watches Vaultbell itself, in rooms that the rest does not know: metrics, traces, a log for the eye.

Nothing is counted unless an extra is there to tell it: `metrics` where it is installed, `otel` where OpenTelemetry's
own variables say where to push. Each library is imported when it is first used.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vaultbell import telemetry, tracing
from vaultbell.errors import SettingsError

if TYPE_CHECKING:
    from vaultbell.observability.metrics import Tally

SIGNALS = ("TRACES", "METRICS")

_tallies: list[Tally] = []  # none, or the one of this process


def formatter(form: str | None) -> logging.Formatter | None:
    """How the log is written: `json`, `text`, or what suits standard error."""
    if form == "json" or (form is None and not _is_terminal()):
        return None
    from vaultbell.observability.terminal import Lines  # noqa: PLC0415 - few logs are read by the eye

    return Lines(coloured=_coloured(os.environ))


def _coloured(environ: Mapping[str, str]) -> bool:
    """Whether colours are wanted (no-color.org) and understood."""
    return _is_terminal() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _is_terminal() -> bool:
    return bool(sys.stderr and sys.stderr.isatty())  # a process that was started without one has none


def subscribe(channels: Iterable[str]) -> None:
    """Begin to count and to push, as far as that is installed and set. A second call adds channels alone."""
    scraped, pushed = find_spec("prometheus_client") is not None, pushes(os.environ)
    if pushed and not _installed("opentelemetry.exporter.otlp.proto.http"):
        told = "nothing is pushed to OTEL_EXPORTER_OTLP_ENDPOINT: pip install 'vaultbell[otel]'"
        telemetry.log(logging.WARNING, told)
        pushed = ()
    if not _tallies and (scraped or pushed):
        from vaultbell.observability.metrics import Tally  # noqa: PLC0415 - not without an extra

        _tallies.append(Tally())
        tracing.listen(_tallies[0])
        if pushed:
            from vaultbell.observability.otel import Push  # noqa: PLC0415 - not without an extra

            tracing.listen(Push(_tallies[0], pushed), records="TRACES" in pushed)
    for tally in _tallies:
        tally.expect(channels)


def pushes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The signals that are to be pushed, by the OpenTelemetry specification's "Environment Variable Specification"."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ()
    return tuple(
        signal
        for signal in SIGNALS
        if (environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
        and environ.get(f"OTEL_{signal}_EXPORTER", "otlp") == "otlp"
    )


def scraper() -> Callable[[], tuple[str, str]] | None:
    """What makes the answer of `/metrics`, a text and its content type; None where the extra is not installed."""
    return _scraped if _tallies and _installed("prometheus_client") else None


def _scraped() -> tuple[str, str]:
    from vaultbell.observability import prometheus  # noqa: PLC0415 - dear at a cold start

    return prometheus.exposition(_tallies[0]), prometheus.CONTENT_TYPE


def serve(host: str, port: int) -> None:
    """Answer scrapes at an address of its own. Raises SettingsError."""
    if not scraper():
        raise SettingsError("--metrics needs prometheus_client: pip install 'vaultbell[metrics]'")
    from vaultbell.observability import prometheus  # noqa: PLC0415 - dear at a cold start

    try:
        prometheus.serve(_tallies[0], host, port)
    except OSError as error:
        raise SettingsError(f"--metrics: {host or '*'}:{port} cannot be listened at: {error.strerror}") from None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in is not there
        return False
