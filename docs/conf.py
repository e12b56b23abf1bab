"""The site, by Sphinx: the pages of this folder, and a reference made of the code."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import generate  # noqa: E402

from fovea import __version__  # noqa: E402

generate.everything(DOCS / "reference")

project = "Fovea"
author = "the authors of Fovea"
copyright = "2026, the authors of Fovea, MIT licence"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["notebooks/runs", "build"]
html_theme = "furo"
html_title = "Fovea"
html_static_path = ["static"]
html_css_files = ["custom.css"]
html_logo = "static/logo.svg"

# Docstrings name code between single backticks.
default_role = "literal"
autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # Lightning's are not in this markup
autodoc_preserve_defaults = True
napoleon_use_ivar = True

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
smartquotes = False  # they make one dash of the two before an option


def examples_as_code(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings indent their examples, without the mark that this markup wants."""
    for at in range(len(lines) - 1, 0, -1):
        begins = lines[at].startswith("    ") and not lines[at - 1].strip()
        before = next((line for line in reversed(lines[:at]) if line.strip()), "")
        if begins and not before.startswith(" "):
            lines[at:at] = [".. code-block:: python", ""]


def setup(app) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", examples_as_code, priority=400)
