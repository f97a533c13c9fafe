# The least that has to be said. Secrets come from the environment: export TF_VAR_webhook_url=… TF_VAR_webhook_secret=…

region         = "eu-de"
project_name   = "eu-de_shop"
failure_emails = ["ops@example.org"]
