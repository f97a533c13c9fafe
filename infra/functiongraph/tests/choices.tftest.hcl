# What can be chosen.

mock_provider "opentelekomcloud" {
  mock_data "opentelekomcloud_identity_project_v3" {
    defaults = { id = "0123456789abcdef0123456789abcdef" }
  }
}

variables {
  region         = "eu-de"
  project_name   = "eu-de"
  package        = "tests/package.txt"
  webhook_url    = "https://hooks.example.org/bell"
  failure_emails = ["ops@example.org"]
}

run "an_image_runs_as_a_container" {
  command = plan

  variables {
    image   = "swr.eu-de.otc.t-systems.com/shop/vaultbell:0.1.0"
    package = "tests/nothing.zip"
  }

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.runtime == "Custom Image" && opentelekomcloud_fgs_function_v2.this.code_type == "Custom-Image-Swr" && opentelekomcloud_fgs_function_v2.this.handler == "-"
    error_message = "not a container"
  }

  assert {
    condition     = one(opentelekomcloud_fgs_function_v2.this.custom_image).url == "swr.eu-de.otc.t-systems.com/shop/vaultbell:0.1.0"
    error_message = "another image"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_PLATFORM == "functiongraph"
    error_message = "the container would not take the platform's events"
  }

  assert {
    condition     = contains(one(opentelekomcloud_identity_agency_v3.this[0].project_role).roles, "SWR Administrator")
    error_message = "the platform could not fetch the image"
  }
}

run "a_mailbox_is_told" {
  command = plan

  variables {
    webhook_url = null
    email_to    = ["ops@example.org", "oncall@example.org"]
    email_from  = "bell@example.org"
    smtp_url    = "smtp://bell:secret@mail.example.org:587"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_EMAIL_TO == "ops@example.org,oncall@example.org"
    error_message = "other recipients"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_function_v2.this.encrypted_user_data) == { VAULTBELL_SMTP_URL = "smtp://bell:secret@mail.example.org:587" }
    error_message = "the mail server's address holds a password, and is a secret"
  }
}

run "a_file_of_settings_gets_its_secrets" {
  command = plan

  variables {
    webhook_url = null
    config_path = "/opt/function/code/vaultbell.yaml"
    settings    = { VAULTBELL_LOG_LEVEL = "WARNING" }
    secrets     = { ONCALL_KEY = "its-value" }
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_CONFIG == "/opt/function/code/vaultbell.yaml" && jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_LOG_LEVEL == "WARNING"
    error_message = "the settings do not arrive"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_function_v2.this.encrypted_user_data) == { ONCALL_KEY = "its-value" }
    error_message = "the secrets do not arrive"
  }

  assert {
    condition     = slice(one(opentelekomcloud_identity_role_v3.this[0].statement).action, 0, 4) == tolist(["cbr:tasks:get", "cbr:tasks:list", "cbr:policies:list", "cbr:vaults:list"])
    error_message = "vaults cannot be watched"
  }
}

run "another_period_changes_the_schedule_and_the_windows" {
  command = plan

  variables {
    sweep_period_minutes = 240
    sweep_lag_minutes    = 90
    sweep_lookback       = 2
  }

  assert {
    condition     = output.schedule == "0 32 1,5,9,13,17,21 * * *"
    error_message = "not every four hours, ninety minutes and a little after the window"
  }

  assert {
    condition     = jsondecode(jsondecode(opentelekomcloud_fgs_trigger_v2.sweep.event_data).user_event) == { sweep = { period = "240m", lag = "90m" } }
    error_message = "a tick that means other windows"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_SWEEP_PERIOD == "240m" && jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_SWEEP_LOOKBACK == "2"
    error_message = "a sweep that is asked for by hand means other windows"
  }
}

run "an_agency_that_is_there_is_taken" {
  command = plan

  variables {
    agency_name = "our-own"
  }

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.agency == "our-own" && length(opentelekomcloud_identity_agency_v3.this) == 0 && length(opentelekomcloud_identity_role_v3.this) == 0
    error_message = "IAM is touched"
  }
}

run "a_roll_call_is_made_when_it_is_asked_for" {
  command = plan

  variables {
    config_path    = "/opt/function/code/vaultbell.yaml"
    webhook_url    = null
    webhook_secret = null
    roll_call_cron = "0 0 6 * * *"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_trigger_v2.roll_call[0].event_data).schedule == "0 0 6 * * *" && jsondecode(jsondecode(opentelekomcloud_fgs_trigger_v2.roll_call[0].event_data).user_event) == { roll_call = { period = "24h" } }
    error_message = "not this time, or not a roll call"
  }

  assert {
    condition     = opentelekomcloud_fgs_trigger_v2.roll_call[0].type == "TIMER" && opentelekomcloud_fgs_trigger_v2.roll_call[0].status == "ACTIVE"
    error_message = "the roll call does not come by itself"
  }
}

run "an_hour_of_silence_is_told_by_the_cloud_itself" {
  command = plan

  variables {
    silence_alarm = true
  }

  assert {
    condition     = one(opentelekomcloud_ces_alarmrule.silence[0].metric).namespace == "SYS.FunctionGraph" && one(one(opentelekomcloud_ces_alarmrule.silence[0].metric).dimensions).value == "default-vaultbell"
    error_message = "not the invocations of this function"
  }
}

run "kafka_is_reached_by_way_of_its_vpc" {
  command = plan

  variables {
    vpc_id         = "9d1bdb0b-0f3a-4a0c-8d6e-1b3c5d7f9a20"
    subnet_id      = "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11"
    kafka          = { instance_id = "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20", topic_ids = ["backups"], user = "bell" }
    kafka_password = "its-password"
  }

  assert {
    condition = jsondecode(opentelekomcloud_fgs_trigger_v2.kafka[0].event_data) == {
      instance_id    = "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20"
      topic_ids      = ["backups"]
      batch_size     = 10
      kafka_user     = "bell"
      kafka_password = "its-password"
    }
    error_message = "not this instance, topic and user"
  }

  assert {
    condition     = opentelekomcloud_fgs_trigger_v2.kafka[0].status == "ACTIVE"
    error_message = "the platform leaves it off unless it is told"
  }

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.vpc_id == "9d1bdb0b-0f3a-4a0c-8d6e-1b3c5d7f9a20" && opentelekomcloud_fgs_function_v2.this.network_id == "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11"
    error_message = "the function is not in the VPC"
  }

  assert {
    condition     = length(setsubtract(["dms:instance:get", "vpc:ports:create", "vpc:vpcs:get"], one(opentelekomcloud_identity_role_v3.this[0].statement).action)) == 0
    error_message = "the platform could not reach the VPC"
  }
}

run "the_gateway_takes_events_by_https" {
  command = plan

  variables {
    apig = { group_id = "c77f5e81d9cb4424bf704ef2b0ac7600", env_id = "DEFAULT_ENVIRONMENT_RELEASE_ID" }
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_trigger_v2.apig[0].event_data).auth == "IAM" && jsondecode(opentelekomcloud_fgs_trigger_v2.apig[0].event_data).protocol == "HTTPS"
    error_message = "anybody could come in, or in the clear"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_trigger_v2.apig[0].event_data).func_info.timeout > 4500
    error_message = "the gateway would give up before the function answers"
  }
}

run "without_alarms_the_sweep_is_left" {
  command = plan

  variables {
    alarms = false
  }

  assert {
    condition     = length(opentelekomcloud_ces_alarmrule.this) == 0 && opentelekomcloud_fgs_trigger_v2.sweep.type == "TIMER"
    error_message = "alarms that nobody asked for, or no sweep"
  }
}
