"""The command line, one module per command: options, output and exit status. The work is done in other packages.

app        the commands and their options, and the handling of all errors
options    options shared by several commands
run, check, compare, data, doctor, reference, tune      commands that need more than a few lines
"""

from bench.cli.app import main

__all__ = ["main"]
