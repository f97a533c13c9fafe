# What happens when nothing does: the function is invoked by its timer, if by nothing else. A switch elsewhere
# (heartbeat_url) tells more; this one is the cloud's own.

resource "opentelekomcloud_ces_alarmrule" "silence" {
  count = var.silence_alarm ? 1 : 0

  alarm_name           = "${var.name}-silence"
  alarm_description    = "Vaultbell was not invoked for an hour: nobody watches the backups."
  alarm_level          = 1
  alarm_enabled        = true
  alarm_action_enabled = true

  metric {
    namespace   = "SYS.FunctionGraph"
    metric_name = "count"

    dimensions {
      name  = "package-functionname"
      value = "${opentelekomcloud_fgs_function_v2.this.app}-${opentelekomcloud_fgs_function_v2.this.name}"
    }
  }

  condition {
    period              = 3600
    filter              = "sum"
    comparison_operator = "<"
    value               = 1
    unit                = "count"
    count               = 1
  }

  alarm_actions {
    type              = "notification"
    notification_list = [opentelekomcloud_smn_topic_v2.failures.topic_urn]
  }

  lifecycle {
    precondition {
      condition     = var.sweep_period_minutes <= 30
      error_message = "An hour without a sweep says nothing here: the alarm needs a sweep_period_minutes of 30 at most."
    }
  }
}
