"""Stored numbers: published ones, shown next to ours, and measured ones, which CI gates on.

published   results/reference/published.csv
measured    results/reference/measured/<suite>.json: per-seed values made with this harness
check       the comparison of records with measured references
"""
