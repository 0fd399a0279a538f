"""The Predict page: scores of one customer or a file of customers, with reasons."""
