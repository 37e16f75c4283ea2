"""Settings of the documentation site; ``python docs/build.py`` builds it.

The repository itself is the source folder, so that pages link to each other as they do on GitHub.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from minictr_site import linkcode_resolve  # noqa: E402, F401  (Sphinx finds it here)

import minictr  # noqa: E402

project = "minictr"
author = "the minictr authors"
release = version = minictr.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "minictr_site", "step_frames"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/index.md",
                    "docs/interactions.md", "docs/papers.md", "docs/shapley.md", "docs/api/*.rst", "docs/models/*.md",
                    "tutorials/*.md", "tutorials/*.ipynb"]
suppress_warnings = ["toc.empty_glob"]
smartquotes = False
highlight_language = "text"         # of code blocks that name none

nb_execution_mode = "off"           # the notebooks hold their outputs
myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4            # README.md#how-fast, as on GitHub
myst_url_schemes = {"http": None, "https": None, "mailto": None,
                    "source": "source:{{path}}#{{fragment}}"}

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True    # dtype=np.float32, as it is written
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "minictr"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["minictr.css", "annotated.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_use_index = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
