# A team's deployment: pagers and chat by a file of settings, sweeps every ten minutes, a dead-man's switch, and an API
# to which programs of their own post. The credentials of whoever applies it come from the environment (OS_…).

terraform {
  required_version = ">= 1.5"

  required_providers {
    opentelekomcloud = {
      source  = "opentelekomcloud/opentelekomcloud"
      version = ">= 1.36.54, < 2.0.0"
    }
  }

  # The state holds the secrets: keep it where it is encrypted and few can read it, a bucket of OBS for example.
  # backend "s3" {}
}

provider "opentelekomcloud" {
  region = "eu-de"
}

module "vaultbell" {
  source = "../.."

  region       = "eu-de"
  project_name = "eu-de_shop"
  tags         = { team = "operations" }

  # The zip was built with it: python infra/package.py --config infra/functiongraph/examples/complete/vaultbell.yaml
  config_path = "/opt/function/code/vaultbell.yaml"
  secrets = {
    CHAT_URL   = var.chat_url
    ONCALL_KEY = var.oncall_key
    SMTP_URL   = var.smtp_url
  }

  sweep_period_minutes = 10
  heartbeat_url        = var.heartbeat_url

  failure_emails = ["ops@example.org"]

  apig = {
    group_id = var.api_group_id
    env_id   = "DEFAULT_ENVIRONMENT_RELEASE_ID"
    auth     = "NONE"
  }
  inbound_token = var.inbound_token
}

# Publish {"operation_log_id": "…"} here, and Vaultbell looks the task up.
output "events_topic_urn" {
  description = "The topic of events, for other templates."
  value       = module.vaultbell.events_topic_urn
}
