"""The pages in a real browser, asked by axe-core: both pages, both languages, light and dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from persona_pipelines.gallery.downloads import Download
from persona_pipelines.gallery.explorer import explorer
from persona_pipelines.gallery.page import page
from persona_pipelines.gallery.texts import LANGUAGES, Language
from persona_pipelines_tests.gallery.test_explorer import people
from persona_pipelines_tests.gallery.test_gallery import gallery

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
DARK = "@media (prefers-color-scheme: dark)"
REPORT = """axe.run(document, {resultTypes: ['violations']}).then(found => {
  const told = found.violations.map(rule => [rule.id, rule.nodes.map(node => node.html.slice(0, 200))]);
  document.body.textContent = ''; document.title = JSON.stringify(told); });"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium")]


def violations(text: str, folder: Path, theme: str) -> list[tuple[str, list[str]]]:
    """What axe-core finds in a page of which the policy lets its script in."""
    script = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8").replace("</script>", "<\\/script>")
    open_ = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert open_ != text
    # The browser's own preference cannot be set on its command line: the styles of the dark are taken always, or never.
    themed = open_.replace(DARK, "@media all" if theme == "dark" else "@media not all")
    (folder / "page.html").write_text(
        themed.replace("</body>", f"<script>{script}</script><script>{REPORT}</script></body>"), encoding="utf-8"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1440,900", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run(
        [str(BROWSER), *options, f"--user-data-dir={folder / 'browser'}", (folder / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<title>(\[.*?\])</title>", done.stdout, re.S)
    assert found is not None, done.stdout[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_gallery_has_no_violation(language: Language, theme: str, tmp_path: Path) -> None:
    files = {1: Download("persona-audiences/segment-1.csv", 600, of_own_list=False)}
    assert violations(page(gallery(), language, files), tmp_path, theme) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_groups_has_no_violation(theme: str, tmp_path: Path) -> None:
    assert violations(explorer(gallery(people=people(5, 600)), "en"), tmp_path, theme) == []


def test_a_violation_is_noticed(tmp_path: Path) -> None:
    text = page(gallery(), "en").replace('<html lang="en">', "<html>").replace("--soft: #4a4a4a", "--soft: #cccccc")
    assert {rule for rule, _ in violations(text, tmp_path, "light")} >= {"html-has-lang", "color-contrast"}
