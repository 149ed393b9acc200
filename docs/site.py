"""What the site has beside the chapters: the README and its neighbours as pages, and the public functions of every room.

Called by mkdocs (``hooks`` of mkdocs.yml). The chapters are written for GitHub; what Python-Markdown reads otherwise is put right here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = "persona_pipelines"
NEIGHBOURS = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
"""Files beside ``docs/`` that are pages of the site, with their names there."""


def rooms() -> dict[str, list[str]]:
    """The rooms of the package, each with its public modules; assets are Dagster's, commands are told by ``--help``."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT / PACKAGE).with_suffix("").parts
        if (
            len(parts) > 1
            and file.stat().st_size > 0
            and not any(part.startswith("_") and part != "__init__" for part in parts)
            and parts[-1] not in ("assets", "sensors")
        ):
            module = ".".join((PACKAGE, *parts)).removesuffix(".__init__")
            found.setdefault(parts[0], []).append(module)
    return {room: modules for room, modules in found.items() if room != "cli"}


def on_config(config: Any) -> Any:
    config.nav.append({"Functions": [f"functions/{room}.md" for room in rooms()]})
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File  # here, so that the rest can be tried without it

    for source, page in NEIGHBOURS.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for room, modules in rooms().items():
        text = f"# {room}\n\nThe public functions and classes of `{PACKAGE}.{room}`, from their docstrings.\n"
        text += "".join(f"\n::: {module}\n" for module in modules)
        files.append(File.generated(config, f"functions/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return as_python_markdown(_linked(markdown))


def _linked(markdown: str) -> str:
    """Links as the site has its pages: those to files of the repository that are no pages keep their words alone."""
    for source, name in NEIGHBOURS.items():
        markdown = re.sub(rf"\]\((?:\.\./)?{re.escape(source)}(#[^)]*)?\)", lambda found, name=name: f"]({name}{found[1] or ''})", markdown)
    markdown = markdown.replace("](docs/", "](")
    return re.sub(rf"\[([^]]*)\]\(\.\./{PACKAGE}/[^)]*\)", r"\1", markdown)


def as_python_markdown(markdown: str) -> str:
    """Lists with a blank line before them, and what belongs to an item four blanks in."""
    lines: list[str] = []
    in_list, fence = False, ""
    for line in markdown.splitlines():
        marks = re.match(r" *(```+)", line)
        item = re.match(r"(?:-|[0-9]+\.) ", line) is not None
        if not fence and line and not line.startswith(" "):
            if item and not in_list and lines and lines[-1]:
                lines.append("")
            # A line of text right below an item goes on with it.
            in_list = item or (in_list and bool(lines[-1]) and not marks)
        lines.append(f"  {line}" if in_list and line.startswith("  ") else line)
        if marks:
            fence = "" if fence else marks[1]
    return "\n".join(lines) + "\n"
