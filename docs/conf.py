"""How Sphinx builds this documentation. Nothing here reaches the network."""

from __future__ import annotations

import sys
from pathlib import Path

from certctl import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "certctl"
author = "the certctl authors"
copyright = "the certctl authors"  # noqa: A001 - the name that Sphinx reads
version = release = __version__

extensions = ["myst_parser", "_ext.settings_table", "_ext.events_tables", "_ext.access_tables"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"certctl {__version__}"
html_copy_source = False
html_show_sourcelink = False
