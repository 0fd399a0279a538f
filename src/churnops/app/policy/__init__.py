"""The Policy page: the decision policy in force, and what others would bring."""
