# Cloud Eye tells of failed tasks minutes before a sweep finds them. Its alarms name no task and may come late, doubled
# or not at all; they are hints, and the sweep finds what they leave out.

resource "huaweicloud_ces_alarmrule" "this" {
  count = var.alarms ? 1 : 0

  alarm_name           = "${var.name}-failures"
  alarm_description    = "A task of Cloud Backup and Recovery failed: Vaultbell looks it up."
  alarm_type           = "EVENT.SYS"
  alarm_enabled        = true
  alarm_action_enabled = true

  metric {
    namespace = "SYS.CBR"
  }

  dynamic "condition" {
    for_each = keys(module.common.failure_events)

    content {
      metric_name         = condition.value
      alarm_level         = 1
      period              = 0 # at once
      filter              = "average"
      comparison_operator = ">="
      value               = 1
      unit                = "count"
      count               = 1
      suppress_duration   = 0
    }
  }

  alarm_actions {
    type              = "notification"
    notification_list = [huaweicloud_smn_topic.events.topic_urn]
  }
}
