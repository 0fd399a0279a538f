"""How a model is made: selection of features, search over four families, fits, and their export to plain arrays.

The one home of scikit-learn and XGBoost. Import the module you need.
"""
