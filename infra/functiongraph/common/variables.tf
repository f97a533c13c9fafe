# Every value has been judged by the template that hands it over.

variable "name" {
  type        = string
  description = "What everything is called, or begins with."
}

variable "region" {
  type        = string
  description = "The region of the tasks and of the function."
}

variable "project_id" {
  type        = string
  description = "The project whose tasks are looked up."
}

variable "container" {
  type        = bool
  description = "Whether the function runs from an image, and not from the zip."
}

variable "time_budget_seconds" {
  type        = number
  description = "What one event may take."
}

variable "sweep_period_minutes" {
  type        = number
  description = "How far apart the ticks are."
}

variable "sweep_lag_minutes" {
  type        = number
  description = "How far behind the clock a sweep ends."
}

variable "roll_call_cron" {
  type        = string
  default     = null
  description = "When a roll call is made, or null."
}

variable "sweep_lookback" {
  type        = number
  description = "How many periods a sweep covers."
}

variable "webhook_url" {
  type        = string
  description = "Where what is told goes, or null."
  sensitive   = true
}

variable "webhook_secret" {
  type        = string
  description = "What signs it, or null."
  sensitive   = true
}

variable "email_to" {
  type        = list(string)
  description = "Who gets a mail."
}

variable "email_from" {
  type        = string
  description = "Who sends it, or null."
}

variable "smtp_url" {
  type        = string
  description = "Where mail is handed in, or null."
  sensitive   = true
}

variable "inbound_token" {
  type        = string
  description = "What callers of the API have to know, or null."
  sensitive   = true
}

variable "heartbeat_url" {
  type        = string
  description = "Who expects to hear of every sweep, or null."
  sensitive   = true
}

variable "config_path" {
  type        = string
  description = "The file of settings, or null."
}

variable "settings" {
  type        = map(string)
  description = "Further variables of the function."
}

variable "secrets" {
  type        = map(string)
  description = "Further variables that are secret."
  sensitive   = true
}

variable "in_vpc" {
  type        = bool
  description = "Whether the function is in a VPC."
}

variable "kafka" {
  type = object({
    instance_id = string
    topic_ids   = list(string)
    batch_size  = number
    user        = string
  })
  description = "The topics that events come from, or null."
}

variable "kafka_password" {
  type        = string
  description = "The Kafka user's password, or null."
  sensitive   = true
}

variable "apig" {
  type = object({
    group_id = string
    env_id   = string
    env_name = string
    path     = string
    auth     = string
  })
  description = "Where the API is published, or null."
}
