"""Stored numbers: published ones, shown next to ours, and measured ones, which CI gates on.

published   results/reference/published.csv
reach       the suites that published numbers stand beside
measured    results/reference/measured/<suite>.json: per-seed values made with this harness
folder      where they are kept: results/reference of a checkout; a wheel brings them along in bench/reference/stored
check       the comparison of records with measured references
"""
