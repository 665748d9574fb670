"""Rules behind ``"auto"``: one for each automatic setting, which returns a value and the reason for it.

A rule is a function of facts about the data: numbers of rows, columns and labels, and types of units. It does not
depend on settings that were given explicitly, which always take precedence. A preset makes training shorter or longer.
"""

from deepbelief.recipes.density_rules import DENSITY
from deepbelief.recipes.presets import PRESETS

__all__ = ["DENSITY", "PRESETS"]
