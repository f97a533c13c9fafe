"""Mistakes to plant in a template, and what has to be said about each: every check is shown to find them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

TEMPLATES = Path(__file__).parents[2] / "infra" / "functiongraph"


class Mistake(NamedTuple):
    """In a file, a text and what it becomes; `said` stands in what the check says, `named` in what Terraform says."""

    file: str
    text: str
    becomes: str
    said: str
    named: str

    def plant(self, folder: Path) -> Path:
        """A copy of all templates with the mistake in it; the folder of the one that has it."""
        copied = copy(folder)
        path = copied / self.file
        before = path.read_text("utf-8")
        assert before.count(self.text) >= 1, f"there is no {self.text!r} in {self.file} any more"
        path.write_text(before.replace(self.text, self.becomes, 1), "utf-8")
        return path.parent


MISTAKES = {
    "a misspelt argument": Mistake(
        "main.tf", "memory_size  ", "memory_sise  ", "memory_sise is no argument", "memory_sise"
    ),
    "a misspelt argument in a block": Mistake(
        "alarms.tf", "metric_name =", "metrik_name =", "metrik_name is no", "metrik_name"
    ),
    "a missing argument": Mistake("triggers.tf", 'type         = "SMN"', "", "type is missing", '"type" is required'),
    "a missing block": Mistake(
        "alarms.tf",
        'metric {\n    namespace   = "SYS.CBR"\n    metric_name = each.key\n  }',
        "",
        "metric is missing",
        "metric",
    ),
    "a text for a number": Mistake(
        "alarms.tf", "alarm_level          = 1", 'alarm_level = "high"', "is no number", "number"
    ),
    "a text for a list": Mistake(
        "alarms.tf",
        "notification_list = [opentelekomcloud_smn_topic_v2.events.topic_urn]",
        'notification_list = "urn"',
        "is no list",
        "list of string",
    ),
    "a resource that is none": Mistake(
        "failures.tf",
        '"opentelekomcloud_smn_subscription_v2"',
        '"opentelekomcloud_smn_subscription_v3"',
        "there is no such thing",
        "opentelekomcloud_smn_subscription_v3",
    ),
    "a resource that is not there": Mistake(
        "triggers.tf",
        "opentelekomcloud_smn_topic_v2.events.topic_urn",
        "opentelekomcloud_smn_topic_v2.event.topic_urn",
        "opentelekomcloud_smn_topic_v2.event is not declared",
        "undeclared resource",
    ),
    "a value that it does not have": Mistake(
        "outputs.tf",
        "opentelekomcloud_fgs_function_v2.this.urn",
        "opentelekomcloud_fgs_function_v2.this.arn",
        "opentelekomcloud_fgs_function_v2.this.arn is nothing",
        "arn",
    ),
    "a variable that is not declared": Mistake(
        "failures.tf", "var.retries", "var.retry", "var.retry is not", "undeclared input"
    ),
    "an output that is not there": Mistake(
        "triggers.tf", "module.common.timer", "module.common.timr", "timr is not", "timr"
    ),
    "huawei: a misspelt argument": Mistake(
        "huawei/main.tf", "log_stream_id ", "log_topic_id ", "log_topic_id is no", "log_topic_id"
    ),
    "huawei: the other cloud's name": Mistake(
        "huawei/failures.tf",
        "max_async_retry_attempts ",
        "max_retry_attempts ",
        "max_retry_attempts is no",
        "max_retry_attempts",
    ),
}
# What Terraform itself finds nothing wrong with, or not before it asks the provider.
UNSEEN = {
    "what can only be read": Mistake(
        "main.tf", "vpc_id     = var.vpc_id", 'urn = "urn:fss"', "can only be read", "urn"
    ),
    "a secret in the environment": Mistake(
        "common/main.tf",
        "VAULTBELL_INBOUND_TOKEN  = var.inbound_token",
        'VAULTBELL_INBOUND_TOKEN = "hunter2"',
        "written down",
        "",
    ),
    "a password in an address": Mistake(
        "common/main.tf",
        "VAULTBELL_SMTP_URL       = var.smtp_url",
        'VAULTBELL_SMTP_URL = "smtp://bell:hunter2@mail"',
        "written down",
        "",
    ),
    "a secret among what everybody can read": Mistake(
        "common/main.tf", "= var.config_path", "= var.webhook_secret", "where everybody can read it", ""
    ),
    "a secret with a default": Mistake(
        "variables.tf",
        "The Kafka user's password.\"\n  type        = string\n  default     = null",
        'The password."\n  type = string\n  default = "hunter2"',
        "a secret has no default",
        "",
    ),
    "a signing secret by any other name": Mistake(
        "common/main.tf", '"leave"', '"whsec_aGVsbG8gd29ybGQ="', "written down", ""
    ),
    "a password that would be printed": Mistake(
        "variables.tf",
        "The Kafka user's password.\"\n  type        = string\n  default     = null\n  sensitive   = true",
        'The password."\n  type = string\n  default = null',
        "not marked as sensitive",
        "",
    ),
}


def copy(folder: Path) -> Path:
    """All templates, without what Terraform may have left beside them."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars")
    return Path(shutil.copytree(TEMPLATES, folder / "functiongraph", ignore=ignored))
