"""The Analysis page: who leaves, why, and what an offer is worth."""
