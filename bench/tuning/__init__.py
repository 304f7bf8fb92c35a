"""Tuning of methods under one budget, on validation data.

space    where to look: from the marks beside a method's settings, narrowed by a file or the command line
study    Optuna's studies: where they are kept, how they draw, and the trials that died with their worker
tuner    trials, each a cell; the most promising ones again with other seeds
export   the best settings as a suite
figures  history, importances, parallel coordinates, Pareto front
tune     a study from its options
"""
