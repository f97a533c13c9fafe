# What is created from the least that has to be said.

mock_provider "opentelekomcloud" {
  mock_data "opentelekomcloud_identity_project_v3" {
    defaults = { id = "0123456789abcdef0123456789abcdef" }
  }
}

variables {
  region         = "eu-de"
  project_name   = "eu-de_shop"
  package        = "tests/package.txt"
  webhook_url    = "https://hooks.example.org/bell"
  webhook_secret = "whsec_dGhlIHdlYmhvb2sncyBrZXksIDMyIGJ5dGVzIGxvbmc="
  failure_emails = ["ops@example.org", "oncall@example.org"]
}

run "the_function_runs_from_the_zip" {
  command = plan

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.runtime == "Python3.12" && opentelekomcloud_fgs_function_v2.this.handler == "index.handler"
    error_message = "not the runtime and the handler of the zip"
  }

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.initializer_handler == "index.initializer"
    error_message = "a mistake in the settings would not stop the start"
  }

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.code_type == "zip" && opentelekomcloud_fgs_function_v2.this.func_code == filebase64("tests/package.txt")
    error_message = "not the zip that was named"
  }

  assert {
    condition     = output.package_sha256 == filesha256("tests/package.txt")
    error_message = "nobody could tell which zip it is"
  }

  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.timeout > tonumber(trimsuffix(jsondecode(opentelekomcloud_fgs_function_v2.this.user_data).VAULTBELL_TIME_BUDGET, "s"))
    error_message = "the platform would kill the function before it hands an event back"
  }
}

run "the_function_is_told_where_it_is_and_that_a_sweep_runs" {
  command = plan

  assert {
    condition = jsondecode(opentelekomcloud_fgs_function_v2.this.user_data) == {
      OS_PROJECT_ID            = "0123456789abcdef0123456789abcdef"
      OS_REGION_NAME           = "eu-de"
      VAULTBELL_SWEEP_LAG      = "5m"
      VAULTBELL_SWEEP_LOOKBACK = "1"
      VAULTBELL_SWEEP_PERIOD   = "15m"
      VAULTBELL_TIME_BUDGET    = "60s"
      VAULTBELL_UNFINISHED     = "leave"
    }
    error_message = "other variables than these"
  }

  assert {
    condition = jsondecode(opentelekomcloud_fgs_function_v2.this.encrypted_user_data) == {
      VAULTBELL_WEBHOOK_SECRET = "whsec_dGhlIHdlYmhvb2sncyBrZXksIDMyIGJ5dGVzIGxvbmc="
      VAULTBELL_WEBHOOK_URL    = "https://hooks.example.org/bell"
    }
    error_message = "other secrets than these"
  }
}

run "it_may_read_tasks_and_publish_and_nothing_else" {
  command = plan

  assert {
    condition     = one(opentelekomcloud_identity_role_v3.this[0].statement).action == tolist(["cbr:tasks:get", "cbr:tasks:list", "smn:topic:list", "smn:topic:publish"])
    error_message = "other rights than these"
  }

  assert {
    condition     = opentelekomcloud_identity_agency_v3.this[0].delegated_domain_name == "op_svc_cff"
    error_message = "not FunctionGraph may act as the agency"
  }

  assert {
    condition     = one(opentelekomcloud_identity_agency_v3.this[0].project_role).roles == tolist(["vaultbell"])
    error_message = "other roles than its own"
  }

  assert {
    condition     = one(opentelekomcloud_identity_agency_v3.this[0].project_role).project == "eu-de_shop"
    error_message = "rights in another project"
  }
}

run "the_timer_and_its_event_say_the_same" {
  command = plan

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_trigger_v2.sweep.event_data).schedule_type == "Cron" && jsondecode(opentelekomcloud_fgs_trigger_v2.sweep.event_data).schedule == "0 7,22,37,52 * * * *"
    error_message = "not in step with the quarters of an hour"
  }

  assert {
    condition     = jsondecode(jsondecode(opentelekomcloud_fgs_trigger_v2.sweep.event_data).user_event) == { sweep = { period = "15m", lag = "5m" } }
    error_message = "a tick that means other windows"
  }
}

run "every_failure_of_a_task_raises_an_alarm" {
  assert {
    condition     = toset([for rule in opentelekomcloud_ces_alarmrule.this : one(rule.metric).metric_name]) == toset(["backupFailed", "restorationFailed", "backupDeleteFailed", "vaultDeleteFailed", "replicationFailed"])
    error_message = "other events than these"
  }

  assert {
    condition     = alltrue([for rule in opentelekomcloud_ces_alarmrule.this : rule.alarm_type == "EVENT.SYS" && one(rule.metric).namespace == "SYS.CBR"])
    error_message = "not events of Cloud Backup and Recovery"
  }

  assert {
    condition     = alltrue([for rule in opentelekomcloud_ces_alarmrule.this : rule.alarm_enabled && rule.alarm_action_enabled && one(rule.alarm_actions).notification_list == tolist([opentelekomcloud_smn_topic_v2.events.topic_urn])])
    error_message = "an alarm that nobody would hear of"
  }

  assert {
    condition     = jsondecode(opentelekomcloud_fgs_trigger_v2.events.event_data).topic_urn == opentelekomcloud_smn_topic_v2.events.topic_urn
    error_message = "the function does not hear of the alarms"
  }
}

run "what_cannot_be_handled_comes_again_and_is_mailed" {
  assert {
    condition     = opentelekomcloud_fgs_async_invoke_config_v2.this.max_async_retry_attempts == 3 && opentelekomcloud_fgs_async_invoke_config_v2.this.max_async_event_age_in_seconds == 21600
    error_message = "not three times, within six hours"
  }

  assert {
    condition     = one(opentelekomcloud_fgs_async_invoke_config_v2.this.on_failure).destination == "SMN" && jsondecode(one(opentelekomcloud_fgs_async_invoke_config_v2.this.on_failure).param).topic_urn == opentelekomcloud_smn_topic_v2.failures.topic_urn
    error_message = "it goes elsewhere"
  }

  assert {
    condition     = opentelekomcloud_smn_topic_v2.failures.topic_urn != opentelekomcloud_smn_topic_v2.events.topic_urn
    error_message = "what failed would come in as an event"
  }

  assert {
    condition     = toset([for mail in opentelekomcloud_smn_subscription_v2.failures : "${mail.protocol}:${mail.endpoint}" if mail.topic_urn == opentelekomcloud_smn_topic_v2.failures.topic_urn]) == toset(["email:ops@example.org", "email:oncall@example.org"])
    error_message = "not everybody hears of it"
  }
}

run "the_log_is_kept" {
  assert {
    condition     = opentelekomcloud_fgs_function_v2.this.enable_lts_log && opentelekomcloud_fgs_function_v2.this.log_group_id == opentelekomcloud_lts_group_v2.this.id && opentelekomcloud_fgs_function_v2.this.log_topic_id == opentelekomcloud_lts_stream_v2.this.id
    error_message = "the log goes elsewhere"
  }
}

run "no_other_door_is_open" {
  command = plan

  assert {
    condition     = length(opentelekomcloud_fgs_trigger_v2.kafka) == 0 && length(opentelekomcloud_fgs_trigger_v2.apig) == 0 && length(opentelekomcloud_fgs_trigger_v2.roll_call) == 0 && length(opentelekomcloud_ces_alarmrule.silence) == 0
    error_message = "a trigger that nobody asked for"
  }
}
