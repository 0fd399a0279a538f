variable "name" { default = "churnops" }
variable "region" { description = "Region, such as eu-central-1" }
variable "image" { description = "Image with churnops and the project's config.yaml, with its digest" }
variable "vpc" { description = "Id of an existing VPC" }
variable "database_subnets" { description = "Name of an existing DB subnet group in two zones" }
variable "alarm_topic" { description = "ARN of the SNS topic that reaches the people on call" }

variable "private_subnets" {
  description = "Ids of subnets in two zones, with a way out to S3 and Secrets Manager"
  type        = list(string)
}

# The same as the secret database-password.
variable "database_password" { ephemeral = true }

# Whether the API runs: it needs the secrets, an API key and a deployed model.
variable "serve" { default = true }

output "api" { value = one(aws_ecs_express_gateway_service.api[*].ingress_paths) }
output "models" { value = "s3://${aws_s3_bucket.models.id}/models" }
