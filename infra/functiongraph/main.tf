# The function: what it runs, what it may do, where its log goes.

locals {
  package = coalesce(var.package, "${path.module}/../../dist/vaultbell-functiongraph.zip")
  packed  = var.image == null && fileexists(local.package)
  agency  = var.agency_name == null ? opentelekomcloud_identity_agency_v3.this[0].name : var.agency_name
}

data "opentelekomcloud_identity_project_v3" "this" {
  name = var.project_name
}

module "common" {
  source = "./common"

  name                 = var.name
  region               = var.region
  project_id           = data.opentelekomcloud_identity_project_v3.this.id
  container            = var.image != null
  time_budget_seconds  = var.time_budget_seconds
  sweep_period_minutes = var.sweep_period_minutes
  sweep_lag_minutes    = var.sweep_lag_minutes
  sweep_lookback       = var.sweep_lookback
  roll_call_cron       = var.roll_call_cron
  webhook_url          = var.webhook_url
  webhook_secret       = var.webhook_secret
  email_to             = var.email_to
  email_from           = var.email_from
  smtp_url             = var.smtp_url
  inbound_token        = var.inbound_token
  heartbeat_url        = var.heartbeat_url
  config_path          = var.config_path
  settings             = var.settings
  secrets              = var.secrets
  in_vpc               = var.vpc_id != null
  kafka                = var.kafka
  kafka_password       = var.kafka_password
  apig                 = var.apig
}

resource "opentelekomcloud_identity_role_v3" "this" {
  count = var.agency_name == null ? 1 : 0

  display_name  = var.name
  display_layer = "project"
  description   = "What Vaultbell may do: read tasks, and publish what it could not handle."

  statement {
    effect = "Allow"
    action = module.common.actions
  }
}

resource "opentelekomcloud_identity_agency_v3" "this" {
  count = var.agency_name == null ? 1 : 0

  name                  = var.name
  description           = "Lets FunctionGraph act for Vaultbell."
  delegated_domain_name = "op_svc_cff" # FunctionGraph

  project_role {
    project = var.project_name
    roles   = concat([opentelekomcloud_identity_role_v3.this[0].display_name], module.common.system_roles)
  }
}

resource "opentelekomcloud_lts_group_v2" "this" {
  group_name  = var.name
  ttl_in_days = var.log_days
  tags        = var.tags
}

resource "opentelekomcloud_lts_stream_v2" "this" {
  group_id    = opentelekomcloud_lts_group_v2.this.id
  stream_name = var.name
  tags        = var.tags
}

resource "opentelekomcloud_fgs_function_v2" "this" {
  name        = var.name
  app         = "default"
  description = "Rings when a cloud backup did not end well."
  agency      = local.agency

  runtime             = module.common.runtime.runtime
  handler             = module.common.runtime.handler
  initializer_handler = module.common.runtime.initializer
  initializer_timeout = var.image == null ? 30 : null
  memory_size         = var.memory_mb
  timeout             = module.common.runtime.timeout
  max_instance_num    = tostring(var.max_instances)

  code_type     = var.image == null ? "zip" : "Custom-Image-Swr"
  code_filename = var.image == null ? basename(local.package) : null
  func_code     = local.packed ? filebase64(local.package) : null

  user_data           = module.common.environment
  encrypted_user_data = module.common.secrets

  vpc_id     = var.vpc_id
  network_id = var.subnet_id

  enable_lts_log = true
  log_group_id   = opentelekomcloud_lts_group_v2.this.id
  log_group_name = opentelekomcloud_lts_group_v2.this.group_name
  log_topic_id   = opentelekomcloud_lts_stream_v2.this.id
  log_topic_name = opentelekomcloud_lts_stream_v2.this.stream_name

  tags = var.tags

  dynamic "custom_image" {
    for_each = var.image[*]

    content {
      url = custom_image.value
    }
  }

  lifecycle {
    precondition {
      condition     = local.packed || var.image != null
      error_message = "There is no zip at ${local.package}: make package."
    }

    precondition {
      condition     = var.webhook_url != null || length(var.email_to) > 0 || var.config_path != null
      error_message = "Nobody would be told: set webhook_url, email_to or config_path."
    }

    precondition {
      condition     = length(var.email_to) == 0 || (var.email_from != null && var.smtp_url != null)
      error_message = "Mail takes email_from and smtp_url."
    }

    precondition {
      condition     = length(module.common.environment) + length(module.common.secrets) <= 4096
      error_message = "The platform takes 4096 characters of variables: put the settings into a file (config_path)."
    }

    precondition {
      condition     = (var.vpc_id == null) == (var.subnet_id == null)
      error_message = "vpc_id and subnet_id belong together."
    }
  }
}
