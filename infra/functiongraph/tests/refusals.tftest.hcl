# What is refused before anything is created.

mock_provider "opentelekomcloud" {}

variables {
  region         = "eu-de"
  project_name   = "eu-de"
  package        = "tests/package.txt"
  webhook_url    = "https://hooks.example.org/bell"
  failure_emails = ["ops@example.org"]
}

run "a_region_with_blanks" {
  command = plan

  variables {
    region = "eu de"
  }

  expect_failures = [var.region]
}

run "a_name_that_topics_cannot_have" {
  command = plan

  variables {
    name = "Vault bell"
  }

  expect_failures = [var.name]
}

run "memory_that_is_not_sold" {
  command = plan

  variables {
    memory_mb = 200
  }

  expect_failures = [var.memory_mb]
}

run "a_budget_that_is_none" {
  command = plan

  variables {
    time_budget_seconds = 3
  }

  expect_failures = [var.time_budget_seconds]
}

run "an_image_that_is_not_in_swr" {
  command = plan

  variables {
    image = "registry.example.org/vaultbell:1"
  }

  expect_failures = [var.image]
}

run "a_period_that_does_not_divide_the_hour" {
  command = plan

  variables {
    sweep_period_minutes = 25
  }

  expect_failures = [var.sweep_period_minutes]
}

run "a_period_that_no_cron_can_say" {
  command = plan

  variables {
    sweep_period_minutes = 90
  }

  expect_failures = [var.sweep_period_minutes]
}

run "a_period_that_does_not_divide_the_day" {
  command = plan

  variables {
    sweep_period_minutes = 300
  }

  expect_failures = [var.sweep_period_minutes]
}

run "half_minutes" {
  command = plan

  variables {
    sweep_period_minutes = 7.5
  }

  expect_failures = [var.sweep_period_minutes]
}

run "a_lag_before_now" {
  command = plan

  variables {
    sweep_lag_minutes = -5
  }

  expect_failures = [var.sweep_lag_minutes]
}

run "a_lookback_of_nothing" {
  command = plan

  variables {
    sweep_lookback = 0
  }

  expect_failures = [var.sweep_lookback]
}

run "a_webhook_that_is_none" {
  command = plan

  variables {
    webhook_url = "hooks.example.org"
  }

  expect_failures = [var.webhook_url]
}

run "a_secret_that_signs_nothing" {
  command = plan

  variables {
    webhook_secret = "hunter2"
  }

  expect_failures = [var.webhook_secret]
}

run "a_recipient_without_a_host" {
  command = plan

  variables {
    email_to = ["ops"]
  }

  expect_failures = [var.email_to]
}

run "a_mail_server_that_is_none" {
  command = plan

  variables {
    smtp_url = "mail.example.org"
  }

  expect_failures = [var.smtp_url]
}

run "a_secret_among_the_settings" {
  command = plan

  variables {
    settings = { OS_PASSWORD = "hunter2" }
  }

  expect_failures = [var.settings]
}

run "a_secret_address_among_the_settings" {
  command = plan

  variables {
    settings = { VAULTBELL_SEEN_URL = "redis://:hunter2@cache" }
  }

  expect_failures = [var.settings]
}

run "a_setting_that_has_a_variable_of_its_own" {
  command = plan

  variables {
    settings = { VAULTBELL_SWEEP_PERIOD = "5m" }
  }

  expect_failures = [var.settings]
}

run "a_secret_that_has_a_variable_of_its_own" {
  command = plan

  variables {
    secrets = { VAULTBELL_WEBHOOK_URL = "https://other.example.org" }
  }

  expect_failures = [var.secrets]
}

run "nobody_to_hear_of_failures" {
  command = plan

  variables {
    failure_emails = []
  }

  expect_failures = [var.failure_emails]
}

run "more_retries_than_there_are" {
  command = plan

  variables {
    retries = 4
  }

  expect_failures = [var.retries]
}

run "an_age_of_two_days" {
  command = plan

  variables {
    event_age_seconds = 172800
  }

  expect_failures = [var.event_age_seconds]
}

run "logs_for_ever" {
  command = plan

  variables {
    log_days = 365
  }

  expect_failures = [var.log_days]
}

run "a_roll_call_at_no_time" {
  command = plan

  variables {
    roll_call_cron = "6:00"
  }

  expect_failures = [var.roll_call_cron]
}

run "a_roll_call_that_nobody_would_hear" {
  command = plan

  variables {
    roll_call_cron = "0 0 6 * * *"
  }

  expect_failures = [opentelekomcloud_fgs_trigger_v2.roll_call]
}

run "an_alarm_on_silence_between_rare_sweeps" {
  command = plan

  variables {
    silence_alarm        = true
    sweep_period_minutes = 60
  }

  expect_failures = [opentelekomcloud_ces_alarmrule.silence]
}

run "kafka_without_topics" {
  command = plan

  variables {
    kafka = { instance_id = "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20", topic_ids = [] }
  }

  expect_failures = [var.kafka]
}

run "a_gateway_with_another_proof" {
  command = plan

  variables {
    apig = { group_id = "g", env_id = "e", auth = "BASIC" }
  }

  expect_failures = [var.apig]
}

run "a_zip_that_was_not_built" {
  command = plan

  variables {
    package = "tests/nothing.zip"
  }

  expect_failures = [opentelekomcloud_fgs_function_v2.this]
}

run "nobody_to_tell" {
  command = plan

  variables {
    webhook_url = null
  }

  expect_failures = [opentelekomcloud_fgs_function_v2.this]
}

run "mail_without_a_server" {
  command = plan

  variables {
    email_to = ["ops@example.org"]
  }

  expect_failures = [opentelekomcloud_fgs_function_v2.this]
}

run "more_variables_than_the_platform_takes" {
  command = plan

  variables {
    settings = { EXTRA = format("%04096d", 0) }
  }

  expect_failures = [opentelekomcloud_fgs_function_v2.this]
}

run "a_vpc_without_a_subnet" {
  command = plan

  variables {
    vpc_id = "9d1bdb0b-0f3a-4a0c-8d6e-1b3c5d7f9a20"
  }

  expect_failures = [opentelekomcloud_fgs_function_v2.this]
}

run "kafka_without_a_vpc" {
  command = plan

  variables {
    kafka = { instance_id = "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20", topic_ids = ["backups"] }
  }

  expect_failures = [opentelekomcloud_fgs_trigger_v2.kafka]
}

run "a_gateway_that_lets_anybody_in" {
  command = plan

  variables {
    apig = { group_id = "g", env_id = "e", auth = "NONE" }
  }

  expect_failures = [opentelekomcloud_fgs_trigger_v2.apig]
}
