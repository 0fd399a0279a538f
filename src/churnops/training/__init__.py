"""Training: selection of features, search over four families, fits, and their export to plain arrays.

Only this package uses scikit-learn and XGBoost. Import its modules by name.
"""
