"""The command line, one module per command: its options, output and exit status. The work is done elsewhere.

app        assembles the commands; every error ends here as a sentence and an exit status
options    options shared by several commands, and those made from the fields of ``bench.options.RunOptions``

Modules import what they need inside the commands: `bench --help` must not wait for PyTorch.
"""
