"""The documentation site builds without a warning, and shows every page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.example


def test_the_site_builds_without_a_warning(tmp_path):
    # Material warns of another project's plans, which is no warning about these pages.
    finished = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "KnowledgeStore" in (tmp_path / "reference/knowledge/index.html").read_text("utf-8")
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    for page in pages:
        name = "index" if page.stem in ("index", "README") else f"{page.stem}/index"
        assert (tmp_path / page.parent / f"{name}.html").is_file(), page
