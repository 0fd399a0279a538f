variable "name" { default = "churnops" }
variable "suffix" { description = "Letters and digits that make names unique in all of Azure" }
variable "subscription" { description = "Id of the subscription" }
variable "group" { description = "Name of an existing resource group" }
variable "region" { description = "Region, such as germanywestcentral" }
variable "image" { description = "Image with churnops and the project's config.yaml, with its digest" }
variable "action_group" { description = "Id of the action group that reaches the people on call" }

variable "subnets" {
  description = "Ids of subnets: for Container Apps, for private endpoints, and one that is delegated to PostgreSQL"
  type        = object({ app = string, endpoints = string, database = string })
}

variable "zones" {
  description = "Ids of the private DNS zones of PostgreSQL, Blob Storage and Key Vault"
  type        = object({ database = string, blob = string, vault = string })
}

# The same as the secret database-password.
variable "database_password" { ephemeral = true }

# Whether the API runs: it needs the secrets, an API key and a deployed model.
variable "serve" { default = true }

output "api" { value = one(azurerm_container_app.api[*].ingress[0].fqdn) }
output "models" { value = "az://${azurerm_storage_container.models.name}/models" }
