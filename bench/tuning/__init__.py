"""Tunes methods under one budget, on validation data.

space    search spaces: from the annotations of a method's settings, narrowed by a file or the command line
study    Optuna's studies: storage, samplers and pruners, and trials whose worker died
tuner    runs trials, each a cell; runs the most promising ones again with other seeds
export   the best settings as a suite
figures  history, importances, parallel coordinates, Pareto front
tune     a study from its options
"""
