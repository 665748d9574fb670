"""Settings of the documentation site: ``python -m sphinx -W docs build/docs``."""

import os
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

from public import MODULES, REGISTRIES, public_names  # noqa: E402

import deepbelief  # noqa: E402

if find_spec("deepbelief.cli") is None:  # the checkout comes before an installed package, and holds cli/ at its root
    deepbelief.__path__.append(str(HERE.parent))

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
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "build",
    "examples",
    "_templates",
    "**/README.*",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
templates_path = ["_templates"]
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
    # Pages of wide tables have no list of their sections beside them.
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        "settings/diagnose": [],
        "settings/advice": [],
        "reference/measured": [],
    },
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_math_renderer = "mathml"  # browsers draw it without a script, offline too
smartquotes_action = "qe"  # quotes and ellipses; not dashes, or --option becomes a dash and a word

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
    lines = ["Commands", "========", "", "``deepbelief COMMAND --help`` prints the text of each page.", ""]
    for name in names:
        lines += [f":doc:`{name}`", f"   {cli.get_command(None, name).get_short_help_str(200)}", ""]
    lines += [".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]
    write(HERE / "commands" / "index.rst", "\n".join(lines))
    for name in names:
        text = [f".. click:: deepbelief.cli.{name}:command", f"   :prog: deepbelief {name}", ""]
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
    lines += [
        "Registries",
        "----------",
        "",
        ":doc:`registries` lists the dicts to which other packages add entries.",
        "",
    ]
    lines += [".. toctree::", "   :hidden:", "", "   registries", ""]
    write(HERE / "api" / "index.rst", "\n".join(lines))
    for path in (HERE / "api" / "generated").glob("*.rst"):
        if path.name not in pages:  # of a name that is no longer public
            path.unlink()


def write_registries() -> None:
    """Write the page of public dicts with their keys."""
    lines = ["Registries", "==========", "", "Other packages add entries to these dicts: see :doc:`/howto/extend`.", ""]
    for path, title in REGISTRIES.items():
        module, name = path.rsplit(".", 1)
        keys = ", ".join(f"``{key}``" for key in getattr(import_module(module), name))
        lines += [f".. py:data:: {path}", "", f"   {title}: {keys}." if keys else f"   {title}.", ""]
    write(HERE / "api" / "registries.rst", "\n".join(lines))


write_commands()
write_api()
write_registries()


def without_foreign_labels(app, what, name, obj, options, lines) -> None:
    """Turn references to labels of scikit-learn's site, in docstrings inherited from it, into text."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r":(?:ref|term):`([^`<]+?)\s*(?:<[^`]*>)?`", r"\1", line)


def examples_as_code(app, ctx, lines) -> None:
    """Set the examples of a command's help as code, and FILE:NAME too, which is no address."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"\bFILE:(?:NAME|KEY)\b", r"``\g<0>``", line)
        if line.lstrip("| ").rstrip() == "Examples:":
            commands = [text.lstrip("| ").rstrip() for text in lines[i + 1 :]]
            lines[i:] = ["Examples:", "", ".. code-block:: sh", "", *(f"   {c}" for c in commands), ""]
            break


def mathml(node, display: str) -> str:
    """Return a formula as MathML, with a thin space after a logarithm without brackets."""
    return convert(re.sub(r"\\log\s+", r"\\log\\,", node.astext()), display=display)


def inline_mathml(translator, node) -> None:
    """Write a formula within a line."""
    translator.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def block_mathml(translator, node) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f'<div class="formula">{mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app) -> None:
    """Connect the hooks and the renderer of formulas; Sphinx calls this."""
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("autodoc-process-docstring", without_foreign_labels)
    app.connect("sphinx-click-process-description", examples_as_code)
