# churnops on Google Cloud: the API on Cloud Run, the journal in PostgreSQL, the models in a bucket.
# docs/clouds.md explains it. It was never applied: read `terraform plan` before you apply it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    google = { source = "hashicorp/google", version = "~> 6.50" }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_service_account" "api" {
  account_id = var.name
}

# The database. The password is write-only, so it is in no state file.
resource "google_sql_database_instance" "journal" {
  name             = var.name
  database_version = "POSTGRES_17"
  settings {
    edition                     = "ENTERPRISE"
    tier                        = "db-custom-2-7680"
    availability_type           = "REGIONAL"
    deletion_protection_enabled = true
    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }
    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      backup_retention_settings { retained_backups = 14 }
    }
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
  }
}

resource "google_sql_database" "journal" {
  name     = "churnops"
  instance = google_sql_database_instance.journal.name
}

resource "google_sql_user" "churnops" {
  name                = "churnops"
  instance            = google_sql_database_instance.journal.name
  password_wo         = var.database_password
  password_wo_version = 1
}

# The models. Conditional writes keep two machines from deploying at once.
resource "google_storage_bucket" "models" {
  name                        = "${var.project}-${var.name}-models"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  versioning { enabled = true }
}

resource "google_storage_bucket_iam_member" "api" {
  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.api.member
}

# Secrets: Terraform makes the places. The values are put there by hand.
resource "google_secret_manager_secret" "this" {
  for_each  = toset(["database-password", "alert-urls"])
  secret_id = "${var.name}-${each.key}"
  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_iam_member" "api" {
  for_each  = google_secret_manager_secret.this
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.api.member
}

# The API. Only the load balancer and machines of the network reach it; churnops itself asks for an API key.
resource "google_cloud_run_v2_service" "api" {
  count                = var.serve ? 1 : 0
  name                 = var.name
  location             = var.region
  ingress              = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  invoker_iam_disabled = true
  template {
    service_account = google_service_account.api.email
    scaling {
      min_instance_count = 2
      max_instance_count = 10
    }
    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = var.network
        subnetwork = var.subnetwork
      }
    }
    containers {
      image = var.image
      args  = ["churnops", "serve", "--host", "0.0.0.0"]
      ports { container_port = 8000 }
      resources {
        limits   = { cpu = "1", memory = "2Gi" }
        cpu_idle = false
      }
      startup_probe {
        period_seconds    = 5
        failure_threshold = 24
        http_get { path = "/health/ready" }
      }
      liveness_probe {
        http_get { path = "/health/live" }
      }
      dynamic "env" {
        for_each = {
          CHURNOPS_JOURNAL__URL             = "postgresql+psycopg://churnops@${google_sql_database_instance.journal.private_ip_address}/churnops?sslmode=require"
          CHURNOPS_REGISTRY__DIRECTORY      = "gs://${google_storage_bucket.models.name}/models"
          CHURNOPS_REGISTRY__COPY_DIRECTORY = "/tmp/models-copy"
        }
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = { PGPASSWORD = "database-password", CHURNOPS_ALERTS__URLS = "alert-urls" }
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.this[env.value].secret_id
              version = "latest"
            }
          }
        }
      }
    }
  }
  depends_on = [google_secret_manager_secret_iam_member.api]
}

# The alarm: the API answers with server errors.
resource "google_monitoring_alert_policy" "errors" {
  display_name          = "${var.name}: server errors"
  combiner              = "OR"
  notification_channels = [var.alarm_channel]
  documentation { content = "The API answers with errors: docs/on-call.md" }
  conditions {
    display_name = "Responses 5xx in five minutes"
    condition_threshold {
      filter          = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      comparison      = "COMPARISON_GT"
      threshold_value = 5
      duration        = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }
}
