"""What can go wrong, as types: whether to ask again is told by the class, never by a text.

    VaultbellError
    ├── InvalidEvent     the event is at fault; asking again is useless     (400, 401, 403, 413; dead letter)
    ├── Transient        it may pass: throttling, 5xx, no connection, no time (503; back to the queue)
    ├── Permanent        the other side will never take this                (424; dead letter)
    ├── Misconfigured    we are at fault: settings, credentials, endpoint   (500; back to the queue; `unverified`)
    │   └── SettingsError    a mistake in the settings; the start stops
    └── TaskMissing      the API says that it knows no such task            (an outcome, not a fault)

Messages are for people and are shown to them: they never hold a secret, a header, the path of an address or
the offending value of an event.
"""

from __future__ import annotations


class VaultbellError(Exception):
    """The root of the tree. `status` is the other side's answer (HTTP's, SMTP's) or, of an InvalidEvent, ours."""

    code = "error"

    def __init__(self, message: str, *, status: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self._reason = reason

    @property
    def reason(self) -> str:
        """Why, in one word of few, to be counted by.

        `timeout`, `dns`, `connection`, `tls`, `protocol` (no HTTP or SMTP), `proxy`, `refused_address`, `elsewhere`
        (another process tells it), `status_4xx` and the like, `other`.
        """
        return self._reason or (f"status_{self.status // 100}xx" if self.status else "other")


class InvalidEvent(VaultbellError):
    """The event cannot be handled, now or later.

    `status` is the HTTP answer (400, 401, 403, 405, 413, 424), `code` a short word for machines, `allow` the methods
    that would do instead of the one that was used.
    """

    status: int

    def __init__(
        self, message: str, *, status: int = 400, code: str = "invalid_event", allow: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, status=status)
        self.code = code
        self.allow = allow


class Transient(VaultbellError):
    """It may pass. `after` is how long the other side asked us to wait (seconds), `status` its HTTP answer."""

    code = "try_again"

    def __init__(
        self, message: str, *, after: float | None = None, status: int | None = None, reason: str = ""
    ) -> None:
        super().__init__(message, status=status, reason=reason)
        self.after = after


class Permanent(VaultbellError):
    """The other side refuses this for good. `status` is its HTTP or SMTP answer, if it gave one."""

    code = "refused"


class Misconfigured(VaultbellError):
    """Our settings, credentials or rights do not do. `cause` is a short stable word: it names the incident.

    `project_id` is the project for which they do not, where that is one of several.
    """

    code = "misconfigured"
    project_id: str | None = None

    def __init__(self, message: str, *, cause: str = "settings", status: int | None = None, reason: str = "") -> None:
        super().__init__(message, status=status, reason=reason)
        self.cause = cause


class SettingsError(Misconfigured):
    """A mistake in the settings; the text names where it stands and what would be right."""

    code = "settings"


class TaskMissing(VaultbellError):
    """`BackupService.6500` or `6501`: the API knows no such task (yet, or any more)."""

    code = "missing"
