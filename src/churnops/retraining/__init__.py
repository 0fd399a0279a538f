"""Retraining: the `policy` permits a run, the `pipeline` trains a challenger, the `gate` decides on its deployment."""
