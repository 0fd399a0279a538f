"""Tests of the files with which a team runs churnops: pipelines, images, clusters, clouds."""
