output "function_urn" {
  description = "The function, for the API and the console."
  value       = opentelekomcloud_fgs_function_v2.this.urn
}

output "package_sha256" {
  description = "The zip that was deployed; null for an image."
  value       = local.packed ? filesha256(local.package) : null
}

output "schedule" {
  description = "When the sweeps come (cron with seconds, UTC)."
  value       = module.common.schedule
}

output "events_topic_urn" {
  description = "What is published here comes in as an event."
  value       = opentelekomcloud_smn_topic_v2.events.topic_urn
}

output "failures_topic_urn" {
  description = "Where the events go that could not be handled."
  value       = opentelekomcloud_smn_topic_v2.failures.topic_urn
}

output "agency_name" {
  description = "What the function acts as."
  value       = local.agency
}

output "log_stream_id" {
  description = "The function's log, in LTS."
  value       = opentelekomcloud_lts_stream_v2.this.id
}
