# churnops on AWS: the API on Fargate behind a load balancer, the journal in PostgreSQL, the models in S3.
# docs/clouds.md explains it. It was never applied: read `terraform plan` before you apply it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.25" }
  }
}

provider "aws" {
  region = var.region
  default_tags { tags = { application = var.name } }
}

# The database. The password is write-only, so it is in no state file.
resource "aws_db_subnet_group" "journal" {
  name       = var.name
  subnet_ids = var.private_subnets
}

resource "aws_db_instance" "journal" {
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = "db.t4g.medium"
  allocated_storage               = 50
  max_allocated_storage           = 500
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
  db_subnet_group_name            = aws_db_subnet_group.journal.name
  vpc_security_group_ids          = [aws_security_group.database.id]
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

resource "aws_s3_bucket_lifecycle_configuration" "models" {
  bucket = aws_s3_bucket.models.id
  rule {
    id     = "uploads-of-killed-processes"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload { days_after_initiation = 7 }
  }
}

# Secrets: Terraform makes the places. The values are put there by hand.
resource "aws_secretsmanager_secret" "this" {
  for_each = toset(["database-password", "alert-urls"])
  name     = "${var.name}/${each.key}"
}

resource "aws_cloudwatch_log_group" "api" {
  name              = "/${var.name}"
  retention_in_days = 365
}

# The API.
resource "aws_ecs_cluster" "churnops" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "api" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  execution_role_arn       = aws_iam_role.this["execution"].arn
  task_role_arn            = aws_iam_role.this["task"].arn
  container_definitions = jsonencode([{
    name         = "api"
    image        = var.image
    command      = ["churnops", "serve", "--host", "0.0.0.0"]
    portMappings = [{ containerPort = 8000 }]
    environment = [for name, value in {
      CHURNOPS_JOURNAL__URL             = "postgresql+psycopg://churnops@${aws_db_instance.journal.endpoint}/churnops?sslmode=require"
      CHURNOPS_REGISTRY__DIRECTORY      = "s3://${aws_s3_bucket.models.id}/models"
      CHURNOPS_REGISTRY__COPY_DIRECTORY = "/tmp/models-copy"
      AWS_REGION                        = var.region
    } : { name = name, value = value }]
    secrets = [
      { name = "PGPASSWORD", valueFrom = aws_secretsmanager_secret.this["database-password"].arn },
      { name = "CHURNOPS_ALERTS__URLS", valueFrom = aws_secretsmanager_secret.this["alert-urls"].arn },
    ]
    logConfiguration = { logDriver = "awslogs", options = {
      awslogs-group = aws_cloudwatch_log_group.api.name, awslogs-region = var.region, awslogs-stream-prefix = "api"
    } }
  }])
}

resource "aws_ecs_service" "api" {
  count                              = var.serve ? 1 : 0
  name                               = "api"
  cluster                            = aws_ecs_cluster.churnops.id
  task_definition                    = aws_ecs_task_definition.api.arn
  launch_type                        = "FARGATE"
  desired_count                      = 2
  deployment_minimum_healthy_percent = 100
  health_check_grace_period_seconds  = 60
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets         = var.private_subnets
    security_groups = [aws_security_group.api.id]
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.api.arn
    container_name   = "api"
    container_port   = 8000
  }
  depends_on = [aws_lb_listener.https]
}

# The alarm: the load balancer has no healthy API.
resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_cloudwatch_metric_alarm" "no_healthy_api" {
  alarm_name          = "${var.name}-no-healthy-api"
  alarm_description   = "No replica answers: docs/on-call.md"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = aws_lb.api.arn_suffix, TargetGroup = aws_lb_target_group.api.arn_suffix }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 3
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
