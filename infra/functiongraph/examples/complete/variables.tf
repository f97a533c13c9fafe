variable "chat_url" {
  description = "The chat's incoming webhook."
  type        = string
  sensitive   = true
}

variable "oncall_key" {
  description = "The pager's routing key."
  type        = string
  sensitive   = true
}

variable "smtp_url" {
  description = "Where mail is handed in."
  type        = string
  sensitive   = true
}

variable "heartbeat_url" {
  description = "The dead-man's switch."
  type        = string
  sensitive   = true
}

variable "inbound_token" {
  description = "What callers of the API have to know."
  type        = string
  sensitive   = true
}

variable "api_group_id" {
  description = "The API group of the dedicated gateway."
  type        = string
}
