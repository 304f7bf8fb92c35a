"""Reports: tables and figures from records. Nothing is measured here.

rows        a row per strategy of a cell
table       the table of a task's runs, and the one of accuracies alone
fairness    what was equal between the methods of a table
checks      the verdicts of a check
pages       tables of committed records in Markdown pages
figures     the figures
"""
