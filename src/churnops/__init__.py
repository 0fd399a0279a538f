"""churnops keeps a trustworthy churn model in production.

It trains, tracks, explains, serves, watches and retrains a churn model, and replaces it only on evidence.
`docs/architecture.md` follows one customer's record through the packages below.
"""

__version__ = "0.1.0"
