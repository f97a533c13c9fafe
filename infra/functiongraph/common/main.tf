# What both clouds have in common: the schedule, the environment, the rights, and what the triggers are told. There is
# no provider here, so nothing is created.

terraform {
  required_version = ">= 1.5"
}

locals {
  # A sweep's windows are counted from the Unix epoch, so the ticks have to stay in step with the period: a cron
  # expression that names each of them, never a rate, which counts from whenever it was set. A tick comes this long
  # after the window that it covers has closed, so that a timer that is somewhat late or early still means the same.
  margin_minutes = 2
  offset         = (var.sweep_lag_minutes + local.margin_minutes) % var.sweep_period_minutes
  within_an_hour = var.sweep_period_minutes <= 60
  minutes        = [for start in range(0, 60, var.sweep_period_minutes) : start + local.offset]
  hours          = [for start in range(0, 24 * 60, var.sweep_period_minutes) : floor((start + local.offset) / 60)]
  schedule = (
    local.within_an_hour
    ? "0 ${join(",", local.minutes)} * * * *"
    : "0 ${local.offset % 60} ${join(",", local.hours)} * * *"
  )
  period = "${var.sweep_period_minutes}m"
  lag    = "${var.sweep_lag_minutes}m"

  environment = {
    OS_REGION_NAME           = var.region
    OS_PROJECT_ID            = var.project_id
    VAULTBELL_CONFIG         = var.config_path
    VAULTBELL_EMAIL_FROM     = var.email_from
    VAULTBELL_EMAIL_TO       = length(var.email_to) > 0 ? join(",", var.email_to) : null
    VAULTBELL_PLATFORM       = var.container ? "functiongraph" : null # the doors that only a container has
    VAULTBELL_SWEEP_LAG      = local.lag
    VAULTBELL_SWEEP_LOOKBACK = tostring(var.sweep_lookback)
    VAULTBELL_SWEEP_PERIOD   = local.period
    VAULTBELL_TIME_BUDGET    = "${var.time_budget_seconds}s"
    VAULTBELL_UNFINISHED     = "leave" # the sweep tells how a running task ends
  }
  secrets = {
    VAULTBELL_HEARTBEAT_URL  = var.heartbeat_url
    VAULTBELL_INBOUND_TOKEN  = var.inbound_token
    VAULTBELL_SMTP_URL       = var.smtp_url
    VAULTBELL_WEBHOOK_SECRET = var.webhook_secret
    VAULTBELL_WEBHOOK_URL    = var.webhook_url
  }
}
