"""Retraining: when it may happen (`policy`), how (`pipeline`), and whether the new model replaces the old (`gate`)."""
