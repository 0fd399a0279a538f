-- Beside the journal's database `churnops`, which the image of PostgreSQL makes itself.
CREATE DATABASE mlflow;
