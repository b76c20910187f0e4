"""6. Weights are learned from samples, features and descriptions.

Calling the package, `mien.train(recipe)`, runs the step.
"""

from mien.callable_package import make_callable

make_callable(__name__, "mien.workflow.api:train")
