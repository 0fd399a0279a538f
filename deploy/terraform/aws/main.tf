# churnops on AWS: the API in ECS Express Mode, the journal in PostgreSQL, the models in S3.
# docs/clouds.md explains it. It was never applied: read `terraform plan` before you apply it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.25" }
  }
}

provider "aws" {
  region = var.region
}

# Only members of this group reach the database. ECS adds a group for the way from its load balancer to the API.
resource "aws_security_group" "this" {
  name        = var.name
  description = "API and database"
  vpc_id      = var.vpc
  ingress {
    description = "PostgreSQL"
    from_port   = 5432
    to_port     = 5432
    protocol    = "tcp"
    self        = true
  }
  egress {
    description = "PostgreSQL"
    from_port   = 5432
    to_port     = 5432
    protocol    = "tcp"
    self        = true
  }
  egress {
    description = "S3, secrets, logs"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

# The database. The password is write-only, so it is in no state file.
resource "aws_db_instance" "journal" {
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = "db.t4g.medium"
  allocated_storage               = 50
  storage_encrypted               = true
  db_name                         = "churnops"
  username                        = "churnops"
  password_wo                     = var.database_password
  password_wo_version             = 1
  multi_az                        = true
  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  final_snapshot_identifier       = "${var.name}-final"
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql"]
  db_subnet_group_name            = var.database_subnets
  vpc_security_group_ids          = [aws_security_group.this.id]
}

# The models. Conditional writes of S3 keep two machines from deploying at once.
resource "aws_s3_bucket" "models" {
  bucket_prefix = "${var.name}-models-"
}

resource "aws_s3_bucket_versioning" "models" {
  bucket = aws_s3_bucket.models.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_public_access_block" "models" {
  bucket                  = aws_s3_bucket.models.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Secrets: Terraform makes the places. The values are put there by hand.
resource "aws_secretsmanager_secret" "this" {
  for_each = toset(["database-password", "alert-urls"])
  name     = "${var.name}/${each.key}"
}

# Roles: `execution` starts containers, `infrastructure` makes the load balancer, `task` is churnops itself.
resource "aws_iam_role" "this" {
  for_each = { execution = "ecs-tasks", infrastructure = "ecs", task = "ecs-tasks" }
  name     = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [
    { Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "${each.value}.amazonaws.com" } }
  ] })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = {
    execution      = "AmazonECSTaskExecutionRolePolicy"
    infrastructure = "AmazonECSInfrastructureRoleforExpressGatewayServices"
  }
  role       = aws_iam_role.this[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/${each.value}"
}

resource "aws_iam_role_policy" "this" {
  for_each = {
    execution = { "secretsmanager:GetSecretValue" = [for secret in aws_secretsmanager_secret.this : secret.arn] }
    task      = { "s3:ListBucket" = [aws_s3_bucket.models.arn], "s3:GetObject" = ["${aws_s3_bucket.models.arn}/*"] }
  }
  role = aws_iam_role.this[each.key].name
  policy = jsonencode({ Version = "2012-10-17", Statement = [
    for action, resources in each.value : { Effect = "Allow", Action = action, Resource = resources }
  ] })
}

# The API.
resource "aws_cloudwatch_log_group" "api" {
  name              = "/${var.name}"
  retention_in_days = 365
}

resource "aws_ecs_express_gateway_service" "api" {
  count                   = var.serve ? 1 : 0
  service_name            = var.name
  health_check_path       = "/health/ready"
  execution_role_arn      = aws_iam_role.this["execution"].arn
  infrastructure_role_arn = aws_iam_role.this["infrastructure"].arn
  task_role_arn           = aws_iam_role.this["task"].arn
  primary_container {
    image          = var.image
    command        = ["churnops", "serve", "--host", "0.0.0.0"]
    container_port = 8000
    aws_logs_configuration { log_group = aws_cloudwatch_log_group.api.name }
    dynamic "environment" {
      for_each = {
        CHURNOPS_JOURNAL__URL             = "postgresql+psycopg://churnops@${aws_db_instance.journal.endpoint}/churnops?sslmode=require"
        CHURNOPS_REGISTRY__DIRECTORY      = "s3://${aws_s3_bucket.models.id}/models"
        CHURNOPS_REGISTRY__COPY_DIRECTORY = "/tmp/models-copy"
        AWS_REGION                        = var.region
      }
      content {
        name  = environment.key
        value = environment.value
      }
    }
    dynamic "secret" {
      for_each = { PGPASSWORD = "database-password", CHURNOPS_ALERTS__URLS = "alert-urls" }
      content {
        name       = secret.key
        value_from = aws_secretsmanager_secret.this[secret.value].arn
      }
    }
  }
  network_configuration {
    subnets         = var.private_subnets
    security_groups = [aws_security_group.this.id]
  }
  scaling_target { min_task_count = 2 }
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.this]
}

# The alarm: fewer than two replicas run. Each of them reports its CPU once a minute.
resource "aws_cloudwatch_metric_alarm" "replicas" {
  alarm_name          = "${var.name}-replicas"
  alarm_description   = "Fewer than two replicas run: docs/on-call.md"
  namespace           = "AWS/ECS"
  metric_name         = "CPUUtilization"
  dimensions          = { ClusterName = "default", ServiceName = var.name }
  statistic           = "SampleCount"
  comparison_operator = "LessThanThreshold"
  threshold           = 2
  period              = 60
  evaluation_periods  = 3
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic]
}
