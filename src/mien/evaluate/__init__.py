"""5. Scores with confidence intervals: how well predictions agree with annotators.

Calling the package, `mien.evaluate(run)`, runs the step.
"""

from mien.callable_package import make_callable

make_callable(__name__, "mien.workflow.api:evaluate")
