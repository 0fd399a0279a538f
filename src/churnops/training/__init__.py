"""Training: selection of features, search over four families, fits, and their export to plain arrays.

The one home of scikit-learn and XGBoost. Import its modules by name.
"""
