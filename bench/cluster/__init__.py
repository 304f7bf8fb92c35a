"""Many workers on one folder of runs, see docs/scale.md.

worker                   a worker: takes cells of a folder's worklists until all are recorded
status                   how far they are, who runs what, and the time that is left
slurm                    workers as an array of SLURM jobs
durations, simulation    how long cells take; how long a suite would take with more workers
"""
