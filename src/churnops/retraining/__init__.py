"""Retraining: the `policy` permits it, the `pipeline` trains a challenger, the `gate` decides on its deployment."""
