"""2. A vision-language model describes subjects, and every description is kept.

The package takes subjects, which have no labels, so the answer cannot leak into a description. Calling it,
`mien.describe(recipe)`, runs the step.
"""

from mien.callable_package import make_callable

make_callable(__name__, "mien.workflow.api:describe")
