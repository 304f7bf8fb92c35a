"""Runs cells: a rehearsal first, then one process per cell, one at a time.

rehearsal               finds predictable failures before the first cell
local                   the processes of cells on this machine
cell                    inside such a process: train, test, probe, write the record
parts                   the parts of a cell: its loaders and its learner
training, evaluation    the epoch loop; accuracies over a loader
opening                 only the first steps of a cell
progress                progress shown to the user
revisions, worktrees    two revisions of a checkout, in turns
"""
