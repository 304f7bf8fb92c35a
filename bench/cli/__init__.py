"""The command line, a module per command: its options, its output and its exit status. The work is done elsewhere.

app        puts the commands together; every error ends here as a sentence and an exit status
options    options that several commands have, and those made of the fields of ``bench.options.RunOptions``

Modules import what they need inside the commands: `bench --help` must not wait for PyTorch.
"""
