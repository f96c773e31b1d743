"""Figures of optimisation, one call each; every one returns matplotlib axes, and takes `ax=`.

| figure | of | its numbers |
| --- | --- | --- |
| `surface` | a function of two variables: contours, paths, the field of descent | `landscape`: a `Landscape` |
| `learning_rates` | gradient descent with several learning rates | `descents`: a `Descents` |
| `schedule` | learning rates over steps | `scheduled`: an array |
| `step_sizes`, `moments` | what `optim.compare` saw | `Comparison.step_sizes`, `Comparison.states` |
"""

from ..studies.descent import Descents, descents
from ..studies.landscape import Landscape, landscape
from .descent import learning_rates, moments, step_sizes, surface
from .schedule import schedule, scheduled

__all__ = [
    "Descents", "Landscape", "descents", "landscape", "learning_rates", "moments", "schedule", "scheduled",
    "step_sizes", "surface",
]  # fmt: skip
