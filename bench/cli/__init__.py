"""The command line, a module per command: options, what is printed, and the exit status. The work is done below.

app        the commands and their options, and the one place where errors end
options    options that several commands have
run, check, compare, data, doctor, reference, tune      commands that need more than a few lines
"""

from bench.cli.app import main

__all__ = ["main"]
