"""Dashboards of Grafana: each file has the panels of one, `model.py` makes Grafana's JSON from them."""
