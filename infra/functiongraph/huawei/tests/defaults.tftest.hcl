# What is created on Huawei Cloud. What may be said is judged as the other cloud's template judges it.

mock_provider "huaweicloud" {
  mock_data "huaweicloud_identity_projects" {
    defaults = { projects = [{ id = "0123456789abcdef0123456789abcdef", name = "cn-north-4" }] }
  }
}

variables {
  region         = "cn-north-4"
  project_name   = "cn-north-4"
  package        = "tests/package.txt"
  webhook_url    = "https://hooks.example.org/bell"
  failure_emails = ["ops@example.org"]
}

run "the_function_runs_from_the_zip" {
  command = plan

  assert {
    condition     = huaweicloud_fgs_function.this.runtime == "Python3.12" && huaweicloud_fgs_function.this.handler == "index.handler" && huaweicloud_fgs_function.this.initializer_handler == "index.initializer"
    error_message = "not the runtime and the entry points of the zip"
  }

  assert {
    condition     = huaweicloud_fgs_function.this.func_code == filebase64("tests/package.txt") && output.package_sha256 == filesha256("tests/package.txt")
    error_message = "not the zip that was named"
  }

  assert {
    condition     = huaweicloud_fgs_function.this.timeout > tonumber(trimsuffix(jsondecode(huaweicloud_fgs_function.this.user_data).VAULTBELL_TIME_BUDGET, "s"))
    error_message = "the platform would kill the function before it hands an event back"
  }

  assert {
    condition     = jsondecode(huaweicloud_fgs_function.this.user_data).OS_PROJECT_ID == "0123456789abcdef0123456789abcdef" && jsondecode(huaweicloud_fgs_function.this.user_data).VAULTBELL_UNFINISHED == "leave"
    error_message = "the function does not know its project, or asks for running tasks again and again"
  }

  assert {
    condition     = jsondecode(huaweicloud_fgs_function.this.encrypted_user_data) == { VAULTBELL_WEBHOOK_URL = "https://hooks.example.org/bell" }
    error_message = "other secrets than these"
  }
}

run "it_may_read_tasks_and_publish_and_nothing_else" {
  command = plan

  assert {
    condition     = one(jsondecode(huaweicloud_identity_role.this[0].policy).Statement) == { Effect = "Allow", Action = ["cbr:tasks:get", "cbr:tasks:list", "smn:topic:list", "smn:topic:publish"] }
    error_message = "other rights than these"
  }

  assert {
    condition     = huaweicloud_identity_agency.this[0].delegated_service_name == "op_svc_cff" && one(huaweicloud_identity_agency.this[0].project_role).roles == tolist(["vaultbell"])
    error_message = "another service, or other roles"
  }
}

run "the_timer_and_its_event_say_the_same" {
  command = plan

  assert {
    condition     = jsondecode(huaweicloud_fgs_function_trigger.sweep.event_data).schedule == "0 7,22,37,52 * * * *" && jsondecode(jsondecode(huaweicloud_fgs_function_trigger.sweep.event_data).user_event) == { sweep = { period = "15m", lag = "5m" } }
    error_message = "not in step with the windows"
  }
}

run "every_failure_of_a_task_raises_an_alarm" {
  assert {
    condition     = toset(huaweicloud_ces_alarmrule.this[0].condition[*].metric_name) == toset(["backupFailed", "restorationFailed", "backupDeleteFailed", "vaultDeleteFailed", "replicationFailed"])
    error_message = "other events than these"
  }

  assert {
    condition     = huaweicloud_ces_alarmrule.this[0].alarm_type == "EVENT.SYS" && one(huaweicloud_ces_alarmrule.this[0].alarm_actions).notification_list == tolist([huaweicloud_smn_topic.events.topic_urn])
    error_message = "an alarm that nobody would hear of"
  }

  assert {
    condition     = jsondecode(huaweicloud_fgs_function_trigger.events.event_data).topic_urn == huaweicloud_smn_topic.events.topic_urn
    error_message = "the function does not hear of the alarms"
  }
}

run "what_cannot_be_handled_comes_again_and_is_mailed" {
  assert {
    condition     = huaweicloud_fgs_async_invoke_configuration.this.max_async_retry_attempts == 3 && jsondecode(one(huaweicloud_fgs_async_invoke_configuration.this.on_failure).param).topic_urn == huaweicloud_smn_topic.failures.topic_urn
    error_message = "not three times, or it goes elsewhere in the end"
  }

  assert {
    condition     = huaweicloud_smn_topic.failures.topic_urn != huaweicloud_smn_topic.events.topic_urn && one(values(huaweicloud_smn_subscription.failures)).topic_urn == huaweicloud_smn_topic.failures.topic_urn
    error_message = "what failed would come in as an event, or nobody hears of it"
  }
}

run "an_image_runs_as_a_container" {
  command = plan

  variables {
    image = "swr.cn-north-4.myhuaweicloud.com/shop/vaultbell:0.1.0"
  }

  assert {
    condition     = huaweicloud_fgs_function.this.code_type == "Custom-Image-Swr" && one(huaweicloud_fgs_function.this.custom_image).url == "swr.cn-north-4.myhuaweicloud.com/shop/vaultbell:0.1.0"
    error_message = "not this container"
  }

  assert {
    condition     = jsondecode(huaweicloud_fgs_function.this.user_data).VAULTBELL_PLATFORM == "functiongraph"
    error_message = "the container would not take the platform's events"
  }
}

run "kafka_and_the_gateway_are_further_doors" {
  command = plan

  variables {
    vpc_id    = "9d1bdb0b-0f3a-4a0c-8d6e-1b3c5d7f9a20"
    subnet_id = "5f0d8c6e-3a57-4a52-9c1e-0b6f3d7a2e11"
    kafka     = { instance_id = "8d4b1c92-6e2f-4f0a-b7a5-1c3e5d7f9a20", topic_ids = ["backups"] }
    apig      = { group_id = "c77f5e81d9cb4424bf704ef2b0ac7600", env_id = "DEFAULT_ENVIRONMENT_RELEASE_ID" }
  }

  assert {
    condition     = huaweicloud_fgs_function_trigger.kafka[0].status == "ACTIVE" && jsondecode(huaweicloud_fgs_function_trigger.apig[0].event_data).auth == "IAM"
    error_message = "the one is off, or the other open"
  }
}

run "a_zip_that_was_not_built" {
  command = plan

  variables {
    package = "tests/nothing.zip"
  }

  expect_failures = [huaweicloud_fgs_function.this]
}

run "nobody_to_tell" {
  command = plan

  variables {
    webhook_url = null
  }

  expect_failures = [huaweicloud_fgs_function.this]
}

run "a_gateway_that_lets_anybody_in" {
  command = plan

  variables {
    apig = { group_id = "g", env_id = "e", auth = "NONE" }
  }

  expect_failures = [huaweicloud_fgs_function_trigger.apig]
}
