"""Names that the API pages of the site show."""

import inspect
import re
from importlib import import_module

MODULES = {
    "Estimators and functions": ["deepbelief"],
    "Likelihood": ["deepbelief.likelihood"],
    "Building blocks": [
        "deepbelief.units",
        "deepbelief.gradients",
        "deepbelief.components",
        "deepbelief.activations",
        "deepbelief.losses",
        "deepbelief.optimizers",
        "deepbelief.schedules",
        "deepbelief.backends",
    ],
    "Data": ["deepbelief.sources", "deepbelief.datasets"],
    "Diagnostics and pictures": [
        "deepbelief.evaluation",
        "deepbelief.evaluation.families",
        "deepbelief.training",
        "deepbelief.diagnostics",
        "deepbelief.plotting",
        "deepbelief.tensorboard",
    ],
    "Files and runs": [
        "deepbelief.checkpoints",
        "deepbelief.hdf5",
        "deepbelief.distributed",
        "deepbelief.cost",
        "deepbelief.export",
        "deepbelief.extensions",
    ],
    "Errors and warnings": ["deepbelief.errors"],
}

ONLY = {"deepbelief.training": ["Reporter"]}
"""Public names of modules that mostly serve others."""
REGISTRIES = {
    "deepbelief.units.UNITS": "Unit types",
    "deepbelief.gradients.GRADIENTS": "Gradient estimators",
    "deepbelief.gradients.CORRUPTIONS": "Corruptions of denoising autoencoders",
    "deepbelief.components.COMPONENTS": "Components of training",
    "deepbelief.optimizers.OPTIMIZERS": "Optimizers",
    "deepbelief.schedules.SCHEDULES": "Schedules of the learning rate",
    "deepbelief.activations.ACTIVATIONS": "Activations",
    "deepbelief.losses.LOSSES": "Losses",
    "deepbelief.recurrent.CELLS": "Cells of `RecurrentRBM`",
    "deepbelief.sources.FORMATS": "Data formats",
    "deepbelief.sources.ALPHABETS": "Alphabets of sequences",
    "deepbelief.backends.BACKENDS": "Backends",
    "deepbelief.distributed.RATE_RULES": "Rules for the learning rate on a cluster",
    "deepbelief.plotting.QUANTITIES": "Quantities of learning curves",
    "deepbelief.recipes.DENSITY": "Settings of an `RBM` for likelihoods",
    "deepbelief.recipes.PRESETS": "Presets",
    "deepbelief.cli.COMMANDS": "Commands of other packages",
}
"""Public dicts, which are on one page of the site."""


def public_names(module: str) -> list[str]:
    """Return the classes and functions that a module lists, or defines.

    Functions below `deepbelief` itself whose docstring has no section Parameters serve other modules: they are left
    out.
    """
    found = import_module(module)
    listed = getattr(found, "__all__", None)
    if module in ONLY:
        return ONLY[module]
    if listed is None:
        listed = [
            name
            for name, value in vars(found).items()
            if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module
        ]
    things = {name: getattr(found, name) for name in listed}
    return sorted(
        name
        for name, thing in things.items()
        if inspect.isclass(thing)
        or (inspect.isroutine(thing) and (module == "deepbelief" or has_parameters(inspect.getdoc(thing) or "")))
    )


def has_parameters(text: str) -> bool:
    """Tell whether a docstring has a section Parameters."""
    return re.search(r"^Parameters\n-+$", text, flags=re.M) is not None
