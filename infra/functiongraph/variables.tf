# Where

variable "region" {
  description = "The region of the function and of the backups, eu-de for example."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.region))
    error_message = "A region is lower-case letters, digits and hyphens."
  }
}

variable "project_name" {
  description = "The name of the project whose backups are watched; the function lives in it, too. Often the region's, or eu-de_something."
  type        = string
}

variable "name" {
  description = "What everything is called, or begins with."
  type        = string
  default     = "vaultbell"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "A name is 3 to 40 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "tags" {
  description = "Tags of everything that can have some."
  type        = map(string)
  default     = {}
}

# What runs

variable "package" {
  description = "The zip that `make package` has built. Null: where it puts it."
  type        = string
  default     = null
}

variable "image" {
  description = "An image in SWR to run instead of the zip: swr.REGION.…/ORGANISATION/vaultbell:TAG."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^swr\\.", var.image))
    error_message = "An image is one of SWR: its address begins with swr."
  }
}

variable "memory_mb" {
  description = "The function's memory in MB."
  type        = number
  default     = 256

  validation {
    condition     = contains([128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096], var.memory_mb)
    error_message = "Memory comes in these sizes: 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584 and 4096."
  }
}

variable "time_budget_seconds" {
  description = "What one event, or one sweep, may take before it is handed back. The function's time-out lies 15 s above it."
  type        = number
  default     = 60

  validation {
    condition     = var.time_budget_seconds >= 10 && var.time_budget_seconds <= 600 && floor(var.time_budget_seconds) == var.time_budget_seconds
    error_message = "A budget is 10 to 600 whole seconds."
  }
}

variable "max_instances" {
  description = "How many instances may run at a time."
  type        = number
  default     = 10

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 400 && floor(var.max_instances) == var.max_instances
    error_message = "Instances are 1 to 400."
  }
}

variable "agency_name" {
  description = "An agency that is there already. Null: one is created, with a role of its own, which takes an administrator of IAM."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "A VPC that the function is to reach. It then reaches the outside only by way of this VPC (a NAT gateway)."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "The network ID of a subnet of that VPC."
  type        = string
  default     = null
}

# Who is told

variable "webhook_url" {
  description = "Where to POST what is told. The address is a secret."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.webhook_url == null || can(regex("^https?://[^/ ]+", var.webhook_url))
    error_message = "A webhook's address is http:// or https:// and a host."
  }
}

variable "webhook_secret" {
  description = "Signs what goes to the webhook: whsec_ and base64; several by space, while one follows the other."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.webhook_secret == null || can(regex("^whsec_[A-Za-z0-9+/]+=*( whsec_[A-Za-z0-9+/]+=*)*$", var.webhook_secret))
    error_message = "A secret is whsec_ and base64."
  }
}

variable "email_to" {
  description = "Who gets a mail."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.email_to : can(regex("^[^@, ]+@[^@, ]+$", address))])
    error_message = "A mail address is name@host."
  }
}

variable "email_from" {
  description = "Who sends the mail; needed with email_to."
  type        = string
  default     = null
}

variable "smtp_url" {
  description = "Where mail is handed in, smtp://user:password@host:587 or smtps://…; needed with email_to."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.smtp_url == null || can(regex("^smtps?://", var.smtp_url))
    error_message = "A mail server's address is smtp:// or smtps://."
  }
}

variable "config_path" {
  description = "The file of settings, for more than one webhook and one mailbox: /opt/function/code/vaultbell.yaml, where `infra/package.py --config FILE` puts it."
  type        = string
  default     = null
}

variable "settings" {
  description = "Further variables of the function that are no secret, VAULTBELL_LOG_LEVEL for example."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : name == "OS_AUTH_URL" || !can(regex("SECRET|TOKEN|PASSWORD|KEY|URL", name))])
    error_message = "What is a secret belongs into secrets: addresses (…_URL) are, too."
  }

  validation {
    condition     = !anytrue([for name in keys(var.settings) : can(regex("^(OS_REGION_NAME|OS_PROJECT_ID|VAULTBELL_(CONFIG|EMAIL_FROM|EMAIL_TO|PLATFORM|SWEEP_(LAG|LOOKBACK|PERIOD)|TIME_BUDGET|UNFINISHED))$", name))])
    error_message = "One of these settings is made from the template's other variables: set those."
  }
}

variable "secrets" {
  description = "Further variables of the function that are secret: what $${NAME} in the file of settings stands for."
  type        = map(string)
  default     = {}
  sensitive   = true

  validation {
    condition     = !anytrue([for name in keys(var.secrets) : can(regex("^VAULTBELL_(HEARTBEAT_URL|INBOUND_TOKEN|SMTP_URL|WEBHOOK_SECRET|WEBHOOK_URL)$", name))])
    error_message = "One of these secrets has a variable of its own: set that."
  }
}

variable "heartbeat_url" {
  description = "Asked after each sweep that was read to its end, so that a dead-man's switch rings when Vaultbell cannot."
  type        = string
  default     = null
  sensitive   = true
}

# When

variable "sweep_period_minutes" {
  description = "How far apart the sweeps are. The timer's schedule and the windows that a sweep covers both come from this."
  type        = number
  default     = 15

  validation {
    condition = (
      var.sweep_period_minutes >= 5 && floor(var.sweep_period_minutes) == var.sweep_period_minutes
      && (60 % var.sweep_period_minutes == 0 || (var.sweep_period_minutes % 60 == 0 && 1440 % var.sweep_period_minutes == 0))
    )
    error_message = "A period divides the hour (5, 6, 10, 12, 15, 20, 30 or 60 minutes), or is whole hours that divide the day (120, 180, 240, 360, 480, 720 or 1440 minutes)."
  }
}

variable "sweep_lag_minutes" {
  description = "How far behind the clock a sweep ends: what the cloud may need to show that a task has ended."
  type        = number
  default     = 5

  validation {
    condition     = var.sweep_lag_minutes >= 0 && var.sweep_lag_minutes <= 1440 && floor(var.sweep_lag_minutes) == var.sweep_lag_minutes
    error_message = "A lag is 0 to 1440 whole minutes."
  }
}

variable "sweep_lookback" {
  description = "How many periods a sweep covers: more than 1 makes up for ticks that were missed, at the price of repeats."
  type        = number
  default     = 1

  validation {
    condition     = var.sweep_lookback >= 1 && var.sweep_lookback <= 100 && floor(var.sweep_lookback) == var.sweep_lookback
    error_message = "A lookback is 1 to 100 periods."
  }
}

variable "roll_call_cron" {
  description = "When a roll call is made, in UTC: seconds, minutes, hours, day, month, day of the week, \"0 0 6 * * *\" say. Null: never. It goes to the channels of the file with roll_call: true."
  type        = string
  default     = null

  validation {
    condition     = var.roll_call_cron == null || can(regex("^[0-9*,/-]+( [0-9*,/?-]+){5}$", var.roll_call_cron))
    error_message = "Six fields: seconds, minutes, hours, day, month and day of the week, \"0 0 6 * * *\" say."
  }
}

variable "silence_alarm" {
  description = "Whether Cloud Eye mails failure_emails when the function was not invoked for an hour: the timer, or the function, is off."
  type        = bool
  default     = false
}

# What cannot be handled

variable "failure_emails" {
  description = "Who hears of events that could not be handled, after all retries. Each address is asked to confirm."
  type        = list(string)

  validation {
    condition     = length(var.failure_emails) > 0 && alltrue([for address in var.failure_emails : can(regex("^[^@, ]+@[^@, ]+$", address))])
    error_message = "Somebody has to hear of it: one address at least, each name@host."
  }
}

variable "retries" {
  description = "How often an event comes again that could not be handled."
  type        = number
  default     = 3

  validation {
    condition     = contains([0, 1, 2, 3], var.retries)
    error_message = "The platform tries again 0 to 3 times."
  }
}

variable "event_age_seconds" {
  description = "How long an event may wait for its turn."
  type        = number
  default     = 21600

  validation {
    condition     = var.event_age_seconds >= 60 && var.event_age_seconds <= 86400 && floor(var.event_age_seconds) == var.event_age_seconds
    error_message = "An age is 60 to 86400 whole seconds."
  }
}

variable "log_days" {
  description = "How many days the function's log is kept."
  type        = number
  default     = 30

  validation {
    condition     = var.log_days >= 1 && var.log_days <= 30 && floor(var.log_days) == var.log_days
    error_message = "Logs are kept for 1 to 30 days."
  }
}

# Further doors

variable "alarms" {
  description = "Whether Cloud Eye's alarms about failed tasks come in, besides the sweep: they ring minutes earlier."
  type        = bool
  default     = true
}

variable "kafka" {
  description = "Topics of a Kafka instance (DMS) whose messages are events. It takes a VPC, and a user where the instance has SASL."
  type = object({
    instance_id = string
    topic_ids   = list(string)
    batch_size  = optional(number, 10)
    user        = optional(string)
  })
  default = null

  validation {
    condition     = var.kafka == null || try(length(var.kafka.topic_ids) > 0 && var.kafka.batch_size >= 1 && var.kafka.batch_size <= 1000, false)
    error_message = "There is a topic at least, and a batch is 1 to 1000 messages."
  }
}

variable "kafka_password" {
  description = "The Kafka user's password."
  type        = string
  default     = null
  sensitive   = true
}

variable "apig" {
  description = "An API group and an environment of a dedicated API Gateway, to take events by HTTPS."
  type = object({
    group_id = string
    env_id   = string
    env_name = optional(string, "RELEASE")
    path     = optional(string, "/vaultbell")
    auth     = optional(string, "IAM")
  })
  default = null

  validation {
    condition     = var.apig == null || try(contains(["IAM", "APP", "NONE"], var.apig.auth) && startswith(var.apig.path, "/"), false)
    error_message = "The API's authentication is IAM, APP or NONE, and its path begins with a slash."
  }
}

variable "inbound_token" {
  description = "What callers of the API have to know (Authorization: Bearer …); needed where the gateway asks them for nothing."
  type        = string
  default     = null
  sensitive   = true
}
