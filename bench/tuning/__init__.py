"""Tuning of methods under one budget.

space    where to look: from the marks beside a method's settings, narrowed by a file or the command line
"""
