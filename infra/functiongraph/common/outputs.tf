output "runtime" {
  description = "What runs, and how long it may: past its budget the function has to find the time to answer."
  value = {
    runtime     = var.container ? "Custom Image" : "Python3.12"
    handler     = var.container ? "-" : "index.handler"
    initializer = var.container ? null : "index.initializer"
    timeout     = var.time_budget_seconds + 15
  }
}

output "environment" {
  description = "The function's variables that are no secret, as JSON."
  value       = jsonencode({ for name, value in merge(var.settings, local.environment) : name => value if value != null })
}

output "secrets" {
  description = "The function's variables that are, as JSON."
  value       = jsonencode({ for name, value in merge(var.secrets, local.secrets) : name => value if value != null })
  sensitive   = true
}

output "schedule" {
  description = "When the ticks come: seconds, minutes, hours, day, month, day of the week; UTC."
  value       = local.schedule
}

output "timer" {
  description = "What the timer trigger is told. The tick says itself which windows it means."
  value = jsonencode({
    name          = "${var.name}-sweep"
    schedule_type = "Cron"
    schedule      = local.schedule
    user_event    = jsonencode({ sweep = { period = local.period, lag = local.lag } })
  })
}

output "roll_call" {
  description = "What the timer trigger of the roll call is told, or null."
  value = var.roll_call_cron == null ? null : jsonencode({
    name          = "${var.name}-roll-call"
    schedule_type = "Cron"
    schedule      = var.roll_call_cron
    user_event    = jsonencode({ roll_call = { period = "24h" } })
  })
}

output "kafka" {
  description = "What the Kafka trigger is told, or null."
  value = var.kafka == null ? null : jsonencode({
    for name, value in {
      instance_id    = var.kafka.instance_id
      topic_ids      = var.kafka.topic_ids
      batch_size     = var.kafka.batch_size
      kafka_user     = var.kafka.user
      kafka_password = var.kafka_password
    } : name => value if value != null
  })
  sensitive = true
}

output "apig" {
  description = "What the API Gateway trigger is told, or null."
  value = var.apig == null ? null : jsonencode({
    name       = replace(var.name, "-", "_")
    group_id   = var.apig.group_id
    env_id     = var.apig.env_id
    env_name   = var.apig.env_name
    auth       = var.apig.auth
    path       = var.apig.path
    protocol   = "HTTPS"
    req_method = "POST"
    match_mode = "NORMAL"
    type       = 1
    func_info  = { timeout = 5000 } # milliseconds; the function answers before that
  })
}

output "failure_events" {
  description = <<-EOT
    The system events of Cloud Backup and Recovery by which something fails, and what each means. (agentOffline is one,
    too, but is about no task: there would be nothing to look up.)
  EOT
  value = {
    backupFailed       = "A backup failed"
    restorationFailed  = "A restore failed"
    backupDeleteFailed = "A backup could not be deleted"
    vaultDeleteFailed  = "A vault could not be deleted"
    replicationFailed  = "A replication failed"
  }
}

output "actions" {
  description = "All that the function may do: read tasks, vaults where it may watch them, and what the platform does in its name."
  value = concat(
    ["cbr:tasks:get", "cbr:tasks:list"],
    # `watch` stands in a file of settings, if it does
    var.config_path == null ? [] : ["cbr:policies:list", "cbr:vaults:list"],
    ["smn:topic:list", "smn:topic:publish"], # the failure destination
    var.kafka == null ? [] : ["dms:instance:get"],
    !var.in_vpc ? [] : [
      "vpc:ports:create", "vpc:ports:get", "vpc:securityGroups:get", "vpc:subnets:get", "vpc:vips:delete", "vpc:vpcs:get"
    ],
  )
}

output "system_roles" {
  description = "Rights that the cloud knows only by a role of its own: to fetch an image."
  value       = var.container ? ["SWR Administrator"] : []
}
