"""Runs cells: a rehearsal first, then one process per cell.

rehearsal               finds predictable failures before the first cell
suite, gate, refresh    a suite from options to outcomes; against its references; old records again
local                   takes the cells of a folder that nobody holds, and runs their processes
server                  a process that has imported PyTorch, and forks those of cells
process                 such a process: resumes, reports, ends after an epoch, writes the record
cell                    the computation inside: train, test, probe
parts                   the parts of a cell: its loaders and its learner
training, evaluation    the epoch loop; accuracies over a loader
opening                 only the first steps of a cell
progress, watchers      progress shown to the user, and told to other packages
revisions, worktrees    two revisions of a checkout, in turns
doctor                  what is installed, and what is missing
"""
