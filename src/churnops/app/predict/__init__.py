"""The Predict page: one customer or a file of customers scored, with reasons."""
