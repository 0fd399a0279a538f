variable "name" {
  description = "Name of every resource"
  default     = "churnops"
}

variable "region" { description = "Region, such as eu-central-1" }
variable "image" { description = "Image with churnops and the project's config.yaml, with its digest" }
variable "vpc" { description = "Id of an existing VPC" }

variable "private_subnets" {
  description = "Ids of subnets in two zones, with a way out to S3 and Secrets Manager"
  type        = list(string)
}

variable "clients" {
  description = "Networks that may ask the API, such as 10.0.0.0/8"
  type        = list(string)
}

variable "database_password" {
  description = "Password of the database, the same as the secret database-password"
  ephemeral   = true
}

variable "serve" {
  description = "Whether the API runs: it needs the secrets, an API key and a deployed model"
  type        = bool
  default     = true
}

variable "certificate" { description = "ARN of the certificate of the API's name" }

output "api" { value = aws_lb.api.dns_name }
output "models" { value = "s3://${aws_s3_bucket.models.id}/models" }
output "alarms" { value = aws_sns_topic.alarms.arn }
