# What becomes of an event that could not be handled: it comes again, and in the end somebody gets a mail.

# Not the topic of the events: what failed would come in as an event, and fail.
resource "huaweicloud_smn_topic" "failures" {
  name         = "${var.name}-failures"
  display_name = "Vaultbell: not handled"
  tags         = var.tags
}

resource "huaweicloud_smn_subscription" "failures" {
  for_each = toset(var.failure_emails)

  topic_urn = huaweicloud_smn_topic.failures.topic_urn
  protocol  = "email"
  endpoint  = each.value
  remark    = "Events that Vaultbell could not handle"
}

resource "huaweicloud_fgs_async_invoke_configuration" "this" {
  function_urn                   = huaweicloud_fgs_function.this.urn
  max_async_retry_attempts       = var.retries
  max_async_event_age_in_seconds = var.event_age_seconds

  on_failure {
    destination = "SMN"
    param       = jsonencode({ topic_urn = huaweicloud_smn_topic.failures.topic_urn })
  }
}
