"""Methods: what one has to offer, how it is found, and its settings.

contract    the protocols of a method and its learner, the optional ones included
registry    methods and tasks, found through Python entry points
settings    reading, checking and canonical form of settings
"""

from bench.methods.contract import (
    GROUP,
    Beginner,
    Conditional,
    Examinable,
    Goodness,
    Inspectable,
    Learner,
    Method,
    Observable,
    PerLayer,
    between,
    family,
    get,
    names,
    optimiser,
    published_rows,
)

__all__ = [
    "GROUP",
    "Beginner",
    "Conditional",
    "Examinable",
    "Goodness",
    "Inspectable",
    "Learner",
    "Method",
    "Observable",
    "PerLayer",
    "between",
    "family",
    "get",
    "names",
    "optimiser",
    "published_rows",
]
