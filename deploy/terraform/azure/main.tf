# churnops on Azure: the API in Container Apps, the journal in PostgreSQL, the models in Blob Storage.
# docs/clouds.md explains it. It was never applied: read `terraform plan` before you apply it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    azurerm = { source = "hashicorp/azurerm", version = "~> 4.55" }
  }
}

# The variables of the API that are secrets, and their names in the vault.
locals {
  secrets = { PGPASSWORD = "database-password", CHURNOPS_ALERTS__URLS = "alert-urls" }
}

provider "azurerm" {
  subscription_id     = var.subscription
  storage_use_azuread = true
  features {
    storage { data_plane_available = false } # only the private endpoint reaches it
  }
}

resource "azurerm_user_assigned_identity" "api" {
  name                = "${var.name}-api"
  resource_group_name = var.group
  location            = var.region
}

# The database. The password is write-only, so it is in no state file.
resource "azurerm_postgresql_flexible_server" "journal" {
  name                              = "${var.name}-${var.suffix}"
  resource_group_name               = var.group
  location                          = var.region
  version                           = "17"
  sku_name                          = "GP_Standard_D2ds_v5"
  storage_mb                        = 65536
  backup_retention_days             = 14
  geo_redundant_backup_enabled      = true
  delegated_subnet_id               = var.subnets.database
  private_dns_zone_id               = var.zones.database
  public_network_access_enabled     = false
  administrator_login               = "churnops"
  administrator_password_wo         = var.database_password
  administrator_password_wo_version = 1
  high_availability { mode = "ZoneRedundant" }
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [zone, high_availability[0].standby_availability_zone]
  }
}

resource "azurerm_postgresql_flexible_server_database" "journal" {
  name      = "churnops"
  server_id = azurerm_postgresql_flexible_server.journal.id
}

# The models. Conditional writes keep two machines from deploying at once.
resource "azurerm_storage_account" "models" {
  name                            = "${var.name}${var.suffix}"
  resource_group_name             = var.group
  location                        = var.region
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  shared_access_key_enabled       = false
  allow_nested_items_to_be_public = false
  min_tls_version                 = "TLS1_2"
  public_network_access_enabled   = false
  blob_properties {
    versioning_enabled = true
    delete_retention_policy { days = 7 }
  }
}

resource "azurerm_storage_container" "models" {
  name               = "models"
  storage_account_id = azurerm_storage_account.models.id
}

resource "azurerm_private_endpoint" "this" {
  for_each            = { blob = azurerm_storage_account.models.id, vault = azurerm_key_vault.this.id }
  name                = "${var.name}-${each.key}"
  resource_group_name = var.group
  location            = var.region
  subnet_id           = var.subnets.endpoints
  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value
    subresource_names              = [each.key]
    is_manual_connection           = false
  }
  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [var.zones[each.key]]
  }
}

# Secrets: Terraform makes the place. The values are put there by hand.
resource "azurerm_key_vault" "this" {
  name                          = "${var.name}-${var.suffix}"
  resource_group_name           = var.group
  location                      = var.region
  tenant_id                     = azurerm_user_assigned_identity.api.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  public_network_access_enabled = false
  network_acls {
    bypass         = "AzureServices"
    default_action = "Deny"
  }
}

# What the API may do: read the models and the secrets.
resource "azurerm_role_assignment" "api" {
  for_each = {
    "Storage Blob Data Reader" = azurerm_storage_account.models.id
    "Key Vault Secrets User"   = azurerm_key_vault.this.id
  }
  role_definition_name = each.key
  scope                = each.value
  principal_id         = azurerm_user_assigned_identity.api.principal_id
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = var.name
  resource_group_name = var.group
  location            = var.region
  retention_in_days   = 365
}

# The API.
resource "azurerm_container_app_environment" "this" {
  name                           = var.name
  resource_group_name            = var.group
  location                       = var.region
  logs_destination               = "log-analytics"
  log_analytics_workspace_id     = azurerm_log_analytics_workspace.this.id
  infrastructure_subnet_id       = var.subnets.app
  internal_load_balancer_enabled = true
}

resource "azurerm_container_app" "api" {
  count                        = var.serve ? 1 : 0
  name                         = var.name
  resource_group_name          = var.group
  container_app_environment_id = azurerm_container_app_environment.this.id
  revision_mode                = "Single"
  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.api.id]
  }
  dynamic "secret" {
    for_each = local.secrets
    content {
      name                = secret.value
      identity            = azurerm_user_assigned_identity.api.id
      key_vault_secret_id = "${azurerm_key_vault.this.vault_uri}secrets/${secret.value}"
    }
  }
  ingress {
    target_port      = 8000
    external_enabled = true # in the network of the environment
    traffic_weight {
      latest_revision = true
      percentage      = 100
    }
  }
  template {
    min_replicas = 2
    container {
      name   = "api"
      image  = var.image
      args   = ["churnops", "serve", "--host", "0.0.0.0"]
      cpu    = 1
      memory = "2Gi"
      dynamic "env" {
        for_each = merge(local.secrets, {
          CHURNOPS_JOURNAL__URL             = "postgresql+psycopg://churnops@${azurerm_postgresql_flexible_server.journal.fqdn}/churnops?sslmode=require"
          CHURNOPS_REGISTRY__DIRECTORY      = "az://${azurerm_storage_container.models.name}/models"
          CHURNOPS_REGISTRY__COPY_DIRECTORY = "/tmp/models-copy"
          AZURE_STORAGE_ACCOUNT_NAME        = azurerm_storage_account.models.name
          AZURE_CLIENT_ID                   = azurerm_user_assigned_identity.api.client_id
        })
        content {
          name        = env.key
          value       = contains(keys(local.secrets), env.key) ? null : env.value
          secret_name = lookup(local.secrets, env.key, null)
        }
      }
      readiness_probe {
        transport = "HTTP"
        port      = 8000
        path      = "/health/ready"
      }
    }
  }
  depends_on = [azurerm_role_assignment.api]
}

# The alarm: fewer than two replicas run.
resource "azurerm_monitor_metric_alert" "replicas" {
  count               = var.serve ? 1 : 0
  name                = "${var.name}-replicas"
  resource_group_name = var.group
  scopes              = [azurerm_container_app.api[0].id]
  description         = "Fewer than two replicas run: docs/on-call.md"
  criteria {
    metric_namespace = "Microsoft.App/containerapps"
    metric_name      = "Replicas"
    aggregation      = "Maximum"
    operator         = "LessThan"
    threshold        = 2
  }
  action { action_group_id = var.action_group }
}
