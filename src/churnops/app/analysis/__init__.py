"""The Analysis page: customers who left, reasons, and the value of an offer."""
