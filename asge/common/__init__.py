"""Common ground of all methods: what a learner is told, optimisers and schedules, marks beside settings.

types         a task's shape and a budget as protocols, and what an examination shows
marks         marks beside settings: where tuning looks
optimisers    optimisers and learning-rate schedules
"""
