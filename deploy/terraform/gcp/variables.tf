variable "name" { default = "churnops" }
variable "project" { description = "Id of an existing project" }
variable "region" { description = "Region, such as europe-west3" }
variable "image" { description = "Image with churnops and the project's config.yaml, with its digest" }
variable "network" { description = "Id of an existing network with private services access" }
variable "subnetwork" { description = "Id of a subnetwork in the region" }
variable "alarm_channel" { description = "Id of the notification channel that reaches the people on call" }

# The same as the secret database-password.
variable "database_password" { ephemeral = true }

# Whether the API runs: it needs the secrets, an API key and a deployed model.
variable "serve" { default = true }

output "api" { value = one(google_cloud_run_v2_service.api[*].uri) }
output "models" { value = "gs://${google_storage_bucket.models.name}/models" }
