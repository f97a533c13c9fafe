# What comes in: the ticks of the sweep, alarms by way of a topic, and, where they are wanted, Kafka and API Gateway.

resource "huaweicloud_fgs_function_trigger" "sweep" {
  function_urn = huaweicloud_fgs_function.this.urn
  type         = "TIMER"
  status       = "ACTIVE"
  event_data   = module.common.timer

  # What fails before there is a policy is lost.
  depends_on = [huaweicloud_fgs_async_invoke_configuration.this]
}

resource "huaweicloud_fgs_function_trigger" "roll_call" {
  count = var.roll_call_cron == null ? 0 : 1

  function_urn = huaweicloud_fgs_function.this.urn
  type         = "TIMER"
  status       = "ACTIVE"
  event_data   = module.common.roll_call

  depends_on = [huaweicloud_fgs_async_invoke_configuration.this]

  lifecycle {
    precondition {
      condition     = var.config_path != null
      error_message = "Nobody would hear the roll call: which channels do (roll_call: true) stands in the file of config_path."
    }
  }
}

# Whatever is published here, and is an event, is looked into: others may publish, too.
resource "huaweicloud_smn_topic" "events" {
  name         = "${var.name}-events"
  display_name = "Vaultbell: events"
  tags         = var.tags
}

resource "huaweicloud_fgs_function_trigger" "events" {
  function_urn = huaweicloud_fgs_function.this.urn
  type         = "SMN"
  event_data   = jsonencode({ topic_urn = huaweicloud_smn_topic.events.topic_urn })

  depends_on = [huaweicloud_fgs_async_invoke_configuration.this]
}

resource "huaweicloud_fgs_function_trigger" "kafka" {
  count = var.kafka == null ? 0 : 1

  function_urn = huaweicloud_fgs_function.this.urn
  type         = "KAFKA"
  status       = "ACTIVE" # the platform's default is DISABLED
  event_data   = module.common.kafka

  depends_on = [huaweicloud_fgs_async_invoke_configuration.this]

  lifecycle {
    precondition {
      condition     = var.vpc_id != null
      error_message = "A Kafka instance is reached by way of its VPC: set vpc_id and subnet_id."
    }
  }
}

resource "huaweicloud_fgs_function_trigger" "apig" {
  count = var.apig == null ? 0 : 1

  function_urn = huaweicloud_fgs_function.this.urn
  type         = "DEDICATEDGATEWAY"
  event_data   = module.common.apig

  lifecycle {
    precondition {
      condition     = try(var.apig.auth, null) != "NONE" || var.inbound_token != null
      error_message = "Anybody could come in: set inbound_token, or let the gateway ask (auth IAM or APP)."
    }
  }
}
