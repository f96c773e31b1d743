"""How Sphinx builds the site: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
project = about["name"]
version = release = about["version"]
copyright = "the autodiff authors"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "docs.pages",
    "docs.drawing",
]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!(autodiff|nn|optim)\.).*")]  # what others describe, and words before a colon

# Pages: Markdown, and notebooks with the outputs that are stored in them
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_block"]
myst_dmath_double_inline = True  # formulas on lines of their own within a paragraph, as notebooks have them
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js = {}
mathjax3_config = {"options": {"enableMenu": False}}

# Names: described by their docstrings, which say shapes and dtypes in words
autodoc_typehints = "none"
autodoc_docstring_signature = False  # "exp(x)" in the first line is the formula
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
toc_object_entries_show_parents = "hide"
python_display_short_literal_types = True

# Looks: nothing is loaded from outside
html_theme = "pydata_sphinx_theme"
html_title = "autodiff"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # a page from a file may not read other files
html_sidebars = {page: [] for page in ("index", "gallery", "systems", "glossary", "search", "genindex", "py-modindex")}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "back_to_top_button": False,
}
