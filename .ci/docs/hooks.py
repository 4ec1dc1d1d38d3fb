"""Makes a site of the repository's Markdown: pages outside docs/, the tutorial and the API reference are added.

Links in the repository are links between files, so that they work where files are read. Here, links that leave docs/
are turned into links to the added pages, or to copies of the files.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("splitters", "benchmarks", "harness")

ADDED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
"""Pages outside docs/, and where they are in the site."""

NOTEBOOKS = {"docs/tutorial.ipynb": "tutorial.md"}

# Tables of a terminal, a hundred columns wide, fit beside the contents.
_STYLE = ".md-grid { max-width: 80rem; }\n.md-typeset td:first-child code { white-space: nowrap; }\n"

_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/, and what pages link to outside of it."""
    pages = {uri: (ROOT / source).read_text(encoding="utf-8") for source, uri in ADDED.items()}
    pages |= {uri: _notebook(ROOT / source) for source, uri in NOTEBOOKS.items()}
    pages |= {f"api/{floor}.md": _reference(floor) for floor in FLOORS}
    pages["site.css"] = _STYLE
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    for file in list(files.documentation_pages()):
        for target in _targets(_source(file.src_uri), file.content_string):
            uri = _uri(target)
            if files.get_file_from_path(uri) is None and (ROOT / target).is_file():
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between the repository's files into links of the site."""
    source = _source(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if not (ROOT / target).is_file():
            return match[0]
        return posixpath.relpath(_uri(target), posixpath.dirname(page.file.src_uri) or ".")

    return markdown if source.startswith("api/") else _LINK.sub(link, markdown)


def _source(uri: str) -> str:
    """Return the path in the repository of a page of the site."""
    known = {uri: source for source, uri in {**ADDED, **NOTEBOOKS}.items()}
    return known.get(uri, uri if uri.startswith("api/") else f"docs/{uri}")


def _uri(source: str) -> str:
    """Return where a file of the repository is in the site."""
    known = {**ADDED, **NOTEBOOKS}
    return known.get(source) or (source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}")


def _targets(source: str, markdown: str) -> Iterator[str]:
    """Yield the paths in the repository that a page links to."""
    for match in _LINK.finditer(markdown):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))


def _notebook(path: Path) -> str:
    """Return a notebook as Markdown: texts, code, and what code wrote."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            shown = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
            parts.append(f"```text\n{shown.rstrip()}\n```")
    return "\n\n".join(parts)


def _reference(floor: str) -> str:
    """Return the page on a package's public names."""
    sys.path.insert(0, os.fspath(ROOT))
    package = __import__(floor)
    title, _, rest = (package.__doc__ or "").partition("\n")
    names = [f"::: {floor}.{name}" for name in package.__all__]
    return "\n\n".join([f"# {floor}", title + rest, *names])
