"""A POST to somebody's address, signed by Standard Webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from vaultbell import retry_after, standard_webhooks
from vaultbell.budget import Budget
from vaultbell.channels import Taken
from vaultbell.channels.formats.post import Post
from vaultbell.errors import Permanent, Transient
from vaultbell.notification import Notification
from vaultbell.transport import Transport

MAY_PASS = (408, 425, 429)


class Webhook:
    """One address. Only 2xx is success; redirects are refused; the status line decides."""

    def __init__(
        self, url: str, keys: Sequence[bytes], make: Callable[[Notification, datetime], Post], transport: Transport
    ) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or "the receiver"
        self._keys = keys
        self._make = make
        self._transport = transport

    def send(self, notification: Notification, budget: Budget) -> Taken:
        """POST the notification once. Raises Transient (408, 425, 429, 5xx, no answer) or Permanent (any other)."""
        now = datetime.now(UTC)
        post = self._make(notification, now)
        signed = standard_webhooks.sign(self._keys, notification.id, int(now.timestamp()), post.body)
        headers = {"Content-Type": post.content_type, **post.headers}
        headers |= {name: value for name, value in signed.items() if value}
        url = self._url.rstrip("/") + post.path if post.path else self._url
        answer = self._transport.send("POST", url, headers=headers, body=post.body, budget=budget)
        status = answer.status
        if status // 100 == 2:
            return Taken(status)
        told = f"{self._host} answered {status}{'; redirects are not followed' if status // 100 == 3 else ''}"
        if status in MAY_PASS or status // 100 == 5:
            raise Transient(told, after=retry_after.read(answer.headers.get("Retry-After")), status=status)
        raise Permanent(told, status=status)
