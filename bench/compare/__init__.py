"""Compares two sets of records: matching experiments, the table of differences, its rendering."""
