"""Running cells: a rehearsal first, then a process per cell, one at a time.

rehearsal               finds before the first cell what can be known to fail
local                   the processes of cells on this machine
cell                    inside such a process: train, test, probe, write the record
parts                   the parts of a cell: its loaders and its learner
training, evaluation    the epoch loop; accuracies over a loader
opening                 a cell's first steps alone
progress                what the user sees meanwhile
revisions, worktrees    two revisions of a checkout, in turns
"""
