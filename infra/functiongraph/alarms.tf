# Cloud Eye tells of failed tasks minutes before a sweep finds them. Its alarms name no task and may come late, doubled
# or not at all; they are hints, and the sweep finds what they leave out.

resource "opentelekomcloud_ces_alarmrule" "this" {
  for_each = var.alarms ? module.common.failure_events : {}

  alarm_name           = "${var.name}-${each.key}"
  alarm_description    = "${each.value}: Vaultbell looks the task up."
  alarm_type           = "EVENT.SYS"
  alarm_level          = 1
  alarm_enabled        = true
  alarm_action_enabled = true

  metric {
    namespace   = "SYS.CBR"
    metric_name = each.key
  }

  # Once is enough. What happens again within five minutes is found by the sweep.
  condition {
    period              = 300
    filter              = "average"
    comparison_operator = ">="
    value               = 1
    unit                = "count"
    count               = 1
    alarm_frequency     = 300
  }

  alarm_actions {
    type              = "notification"
    notification_list = [opentelekomcloud_smn_topic_v2.events.topic_urn]
  }
}
