# churnops on Azure: the API in Container Apps, the journal in PostgreSQL, the models in Blob Storage.
# docs/clouds.md explains it. It was never applied: read `terraform plan` before you apply it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    azurerm = { source = "hashicorp/azurerm", version = "~> 4.55" }
  }
}

provider "azurerm" {
  subscription_id     = var.subscription
  storage_use_azuread = true
  features {
    storage { data_plane_available = false } # only the private endpoint reaches it
  }
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.region
}

resource "azurerm_user_assigned_identity" "api" {
  name                = "${var.name}-api"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
}

# The database. The password is write-only, so it is in no state file.
resource "azurerm_postgresql_flexible_server" "journal" {
  name                              = "${var.name}-${var.suffix}"
  resource_group_name               = azurerm_resource_group.this.name
  location                          = azurerm_resource_group.this.location
  version                           = "17"
  sku_name                          = "GP_Standard_D2ds_v5"
  storage_mb                        = 65536
  auto_grow_enabled                 = true
  backup_retention_days             = 14
  geo_redundant_backup_enabled      = true
  delegated_subnet_id               = var.subnets.database
  private_dns_zone_id               = var.zones.database
  public_network_access_enabled     = false
  administrator_login               = "churnops"
  administrator_password_wo         = var.database_password
  administrator_password_wo_version = 1
  high_availability {
    mode = "ZoneRedundant"
  }
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
  resource_group_name             = azurerm_resource_group.this.name
  location                        = azurerm_resource_group.this.location
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  min_tls_version                 = "TLS1_2"
  shared_access_key_enabled       = false
  allow_nested_items_to_be_public = false
  public_network_access_enabled   = false
  blob_properties {
    versioning_enabled = true
    delete_retention_policy {
      days = 7
    }
  }
}

resource "azurerm_storage_container" "models" {
  name               = "models"
  storage_account_id = azurerm_storage_account.models.id
}

resource "azurerm_private_endpoint" "this" {
  for_each            = { blob = azurerm_storage_account.models.id, vault = azurerm_key_vault.this.id }
  name                = "${var.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
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

resource "azurerm_role_assignment" "models" {
  scope                = azurerm_storage_account.models.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.api.principal_id
}

# Secrets: Terraform makes the place. The secrets database-password and alert-urls are put there by hand.
resource "azurerm_key_vault" "this" {
  name                          = "${var.name}-${var.suffix}"
  resource_group_name           = azurerm_resource_group.this.name
  location                      = azurerm_resource_group.this.location
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

resource "azurerm_role_assignment" "secrets" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.api.principal_id
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  retention_in_days   = 365
}

# The API.
resource "azurerm_container_app_environment" "this" {
  name                           = var.name
  resource_group_name            = azurerm_resource_group.this.name
  location                       = azurerm_resource_group.this.location
  logs_destination               = "log-analytics"
  log_analytics_workspace_id     = azurerm_log_analytics_workspace.this.id
  infrastructure_subnet_id       = var.subnets.app
  internal_load_balancer_enabled = true
}

resource "azurerm_container_app" "api" {
  count                        = var.serve ? 1 : 0
  name                         = var.name
  resource_group_name          = azurerm_resource_group.this.name
  container_app_environment_id = azurerm_container_app_environment.this.id
  revision_mode                = "Single"
  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.api.id]
  }
  dynamic "secret" {
    for_each = toset(["database-password", "alert-urls"])
    content {
      name                = secret.key
      identity            = azurerm_user_assigned_identity.api.id
      key_vault_secret_id = "${azurerm_key_vault.this.vault_uri}secrets/${secret.key}"
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
    max_replicas = 10
    container {
      name   = "api"
      image  = var.image
      args   = ["churnops", "serve", "--host", "0.0.0.0"]
      cpu    = 1
      memory = "2Gi"
      dynamic "env" {
        for_each = {
          CHURNOPS_JOURNAL__URL             = "postgresql+psycopg://churnops@${azurerm_postgresql_flexible_server.journal.fqdn}/churnops?sslmode=require"
          CHURNOPS_REGISTRY__DIRECTORY      = "az://${azurerm_storage_container.models.name}/models"
          CHURNOPS_REGISTRY__COPY_DIRECTORY = "/tmp/models-copy"
          AZURE_STORAGE_ACCOUNT_NAME        = azurerm_storage_account.models.name
          AZURE_CLIENT_ID                   = azurerm_user_assigned_identity.api.client_id
        }
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = { PGPASSWORD = "database-password", CHURNOPS_ALERTS__URLS = "alert-urls" }
        content {
          name        = env.key
          secret_name = env.value
        }
      }
      readiness_probe {
        transport = "HTTP"
        port      = 8000
        path      = "/health/ready"
      }
      liveness_probe {
        transport = "HTTP"
        port      = 8000
        path      = "/health/live"
      }
    }
  }
  depends_on = [azurerm_role_assignment.secrets, azurerm_role_assignment.models]
}

# The alarm: fewer than two replicas run.
resource "azurerm_monitor_action_group" "on_call" {
  name                = "${var.name}-on-call"
  resource_group_name = azurerm_resource_group.this.name
  short_name          = "churnops"
  email_receiver {
    name          = "on-call"
    email_address = var.on_call
  }
}

resource "azurerm_monitor_metric_alert" "replicas" {
  count               = var.serve ? 1 : 0
  name                = "${var.name}-replicas"
  resource_group_name = azurerm_resource_group.this.name
  scopes              = [azurerm_container_app.api[0].id]
  description         = "Fewer than two replicas run: docs/on-call.md"
  severity            = 1
  criteria {
    metric_namespace = "Microsoft.App/containerapps"
    metric_name      = "Replicas"
    aggregation      = "Maximum"
    operator         = "LessThan"
    threshold        = 2
  }
  action {
    action_group_id = azurerm_monitor_action_group.on_call.id
  }
}
