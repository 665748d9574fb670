"""Settings of the documentation site: ``python -m sphinx -W docs build/docs``."""

import os
import re
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # an editable install needs no help; a bare checkout does
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

from public import MODULES, public_names  # noqa: E402

import deepbelief  # noqa: E402
from deepbelief.cli import cli  # noqa: E402

project = "deepbelief"
author = "deepbelief developers"
copyright = "2026, deepbelief developers"
version = release = deepbelief.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["build", "examples", "**/README.*"]
default_role = "py:obj"  # a link where the name is documented, else code
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "deepbelief"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_search_scorer = str(HERE / "scorer.js")
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
mathjax_path = "mathjax/tex-mml-chtml.js"

autosummary_generate = True
autodoc_typehints = "none"  # the numpydoc sections say it in words
numpydoc_show_class_members = True
numpydoc_show_inherited_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 3600,
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "image_scrapers": ("matplotlib",),
    "plot_gallery": os.environ.get("DEEPBELIEF_DOCS_GALLERY", "1") == "1",
}
suppress_warnings = ["config.cache"]


def write(path: Path, text: str) -> None:
    """Write a page that follows from the code, if it changed: Sphinx then rebuilds only what it must."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_commands() -> None:
    """Write a page for each command."""
    names = cli.list_commands(None)
    lines = ["Commands", "========", "", "Every command prints this text with ``--help``.", "", ".. toctree::", ""]
    write(HERE / "commands" / "index.rst", "\n".join([*lines, *(f"   {name}" for name in names), ""]))
    for name in names:
        title = f"deepbelief {name}"
        text = [title, "=" * len(title), "", f".. click:: deepbelief.cli.{name}:command", f"   :prog: {title}", ""]
        write(HERE / "commands" / f"{name}.rst", "\n".join(text))


def write_api() -> None:
    """Write the index of public names, from which autosummary makes a page for each."""
    lines = ["API", "===", ""]
    seen: set[int] = set()
    pages: set[str] = set()
    for title, modules in MODULES.items():
        lines += [title, "-" * len(title), ""]
        for module in modules:
            names = [name for name in public_names(module) if id(getattr(import_module(module), name)) not in seen]
            seen.update(id(getattr(import_module(module), name)) for name in names)
            if module != "deepbelief":
                lines += [f"``{module}``", "^" * (len(module) + 4), ""]
            lines += [".. autosummary::", "   :toctree: generated", "   :nosignatures:", ""]
            lines += [*(f"   {module}.{name}" for name in names), ""]
            pages.update(f"{module}.{name}.rst" for name in names)
    write(HERE / "api" / "index.rst", "\n".join(lines))
    for path in (HERE / "api" / "generated").glob("*.rst"):
        if path.name not in pages:  # of a name that is no longer public
            path.unlink()


write_commands()
write_api()


def without_foreign_labels(app, what, name, obj, options, lines) -> None:
    """Turn references to labels of scikit-learn's site, in docstrings inherited from it, into text."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r":(?:ref|term):`([^`<]+?)\s*(?:<[^`]*>)?`", r"\1", line)


def examples_as_code(app, ctx, lines) -> None:
    """Set the examples of a command's help as code."""
    for i, line in enumerate(lines):
        if line.lstrip("| ").rstrip() == "Examples:":
            commands = [text.lstrip("| ").rstrip() for text in lines[i + 1 :]]
            lines[i:] = ["Examples:", "", ".. code-block:: sh", "", *(f"   {c}" for c in commands), ""]
            break


def setup(app) -> None:
    """Connect the hook; Sphinx calls this."""
    app.connect("autodoc-process-docstring", without_foreign_labels)
    app.connect("sphinx-click-process-description", examples_as_code)
