"""What the three sizes of locks are made from."""

from __future__ import annotations

from dataclasses import dataclass

_HUNDRED = (
    "numpy",
    "requests",
    "flask",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "jupyterlab",
    "pytest",
)
_MORE = (
    "tensorflow-cpu",
    "dask[complete]",
    "polars",
    "fastapi",
    "sqlalchemy",
    "boto3",
    "statsmodels",
    "pytest-cov",
    "pytest-xdist",
    "mypy",
    "ruff",
    "black",
    "sphinx",
    "pre-commit",
)
_SMALL = (
    "flask",
    "requests",
    "jinja2",
    "werkzeug",
    "markupsafe",
    "click",
    "charset-normalizer",
    "urllib3",
    "certifi",
    "idna",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a size stands for: requirements, the eleven distributions bumped, the heavy imports.

    ``bumped[0]`` tells state 0 from state 1; it only serves to bring an environment into a
    realistic state.
    """

    size: int
    requirements: tuple[str, ...]
    bumped: tuple[str, ...]
    imports: tuple[str, ...]


RECIPES = {
    recipe.size: recipe
    for recipe in (
        Recipe(
            size=3,
            requirements=_HUNDRED[:3],
            bumped=("numpy", *_SMALL),
            imports=("numpy", "requests", "flask"),
        ),
        Recipe(
            size=100,
            requirements=_HUNDRED,
            bumped=("platformdirs", *_SMALL),
            imports=(
                "numpy, requests, flask, pandas, scipy.stats, sklearn.linear_model",
                "sklearn.ensemble, matplotlib.pyplot, jupyterlab.labapp, IPython, pytest",
            ),
        ),
        Recipe(
            size=150,
            requirements=_HUNDRED + _MORE,
            bumped=("platformdirs", *_SMALL),
            imports=(
                "numpy, requests, flask, pandas, scipy.stats, sklearn.linear_model",
                "sklearn.ensemble, matplotlib.pyplot, jupyterlab.labapp, IPython, pytest",
                "tensorflow, dask.dataframe, distributed, polars, pyarrow, fastapi, sqlalchemy.orm",
                "boto3, statsmodels.api, sphinx.application",
            ),
        ),
    )
}
LAST = 11
