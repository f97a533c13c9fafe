"""The bodies of webhooks: one file a format, each a pure function from a notification to what is POSTed.

To add one: a file beside this one, its name in `FORMATS`, and in `settings.FORMATS` what it needs of the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from vaultbell.channels.formats import alertmanager, cloudevent, default, discord, opsgenie, pagerduty, slack, teams
from vaultbell.channels.formats.post import Options, Post
from vaultbell.notification import Notification

Format = Callable[[Notification, Options, datetime], Post]

FORMATS: Mapping[str, Format] = {
    "default": lambda told, _, __: Post(default.body(told)),
    "cloudevent": lambda told, _, __: cloudevent.post(told),
    "alertmanager": lambda told, options, now: alertmanager.post(told, options.expires, now),
    "pagerduty": lambda told, options, _: pagerduty.post(told, options.routing_key),
    "opsgenie": lambda told, options, _: opsgenie.post(told, options.api_key),
    "slack": lambda told, options, _: slack.post(told, options.zone),
    "teams": lambda told, options, _: teams.post(told, options.zone),
    "discord": lambda told, options, _: discord.post(told, options.zone),
}
