# What comes in: the ticks of the sweep, alarms by way of a topic, and, where they are wanted, Kafka and API Gateway.

resource "opentelekomcloud_fgs_trigger_v2" "sweep" {
  function_urn = opentelekomcloud_fgs_function_v2.this.urn
  type         = "TIMER"
  status       = "ACTIVE"
  event_data   = module.common.timer

  # What fails before there is a policy is lost.
  depends_on = [opentelekomcloud_fgs_async_invoke_config_v2.this]
}

resource "opentelekomcloud_fgs_trigger_v2" "roll_call" {
  count = var.roll_call_cron == null ? 0 : 1

  function_urn = opentelekomcloud_fgs_function_v2.this.urn
  type         = "TIMER"
  status       = "ACTIVE"
  event_data   = module.common.roll_call

  depends_on = [opentelekomcloud_fgs_async_invoke_config_v2.this]

  lifecycle {
    precondition {
      condition     = var.config_path != null
      error_message = "Nobody would hear the roll call: which channels do (roll_call: true) stands in the file of config_path."
    }
  }
}

# Whatever is published here, and is an event, is looked into: others may publish, too.
resource "opentelekomcloud_smn_topic_v2" "events" {
  name         = "${var.name}-events"
  display_name = "Vaultbell: events"
  tags         = var.tags
}

resource "opentelekomcloud_fgs_trigger_v2" "events" {
  function_urn = opentelekomcloud_fgs_function_v2.this.urn
  type         = "SMN"
  event_data   = jsonencode({ topic_urn = opentelekomcloud_smn_topic_v2.events.topic_urn })

  depends_on = [opentelekomcloud_fgs_async_invoke_config_v2.this]
}

resource "opentelekomcloud_fgs_trigger_v2" "kafka" {
  count = var.kafka == null ? 0 : 1

  function_urn = opentelekomcloud_fgs_function_v2.this.urn
  type         = "KAFKA"
  status       = "ACTIVE" # the platform's default is DISABLED
  event_data   = module.common.kafka

  depends_on = [opentelekomcloud_fgs_async_invoke_config_v2.this]

  lifecycle {
    precondition {
      condition     = var.vpc_id != null
      error_message = "A Kafka instance is reached by way of its VPC: set vpc_id and subnet_id."
    }
  }
}

resource "opentelekomcloud_fgs_trigger_v2" "apig" {
  count = var.apig == null ? 0 : 1

  function_urn = opentelekomcloud_fgs_function_v2.this.urn
  type         = "DEDICATEDGATEWAY"
  event_data   = module.common.apig

  lifecycle {
    precondition {
      condition     = try(var.apig.auth, null) != "NONE" || var.inbound_token != null
      error_message = "Anybody could come in: set inbound_token, or let the gateway ask (auth IAM or APP)."
    }
  }
}
