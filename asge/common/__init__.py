"""Shared by all methods: protocols, optimisers and schedules, annotations of settings.

types         protocols for a task's shape and a training budget; a learner's predictions
marks         annotations of settings: search spaces of tuning
optimisers    optimisers and learning-rate schedules
muon          Muon, which PyTorch has for matrices only
"""
