"""What the documentation shows runs as it stands, links lead somewhere, help and pages agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
] + sorted((ROOT / "docs").rglob("*.md"))
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.example
@pytest.mark.weights
@pytest.mark.parametrize(
    "page", [page for page in PAGES if PYTHON_BLOCK.search(page.read_text("utf-8"))], ids=name_of
)
def test_python_blocks_run_as_they_stand(page, tmp_path, run_script):
    blocks = PYTHON_BLOCK.findall(page.read_text("utf-8"))
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    finished = run_script(script, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def links_of(page: Path) -> list[str]:
    """What a page links to in this repository."""
    targets = LINK.findall(page.read_text("utf-8"))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def test_pages_and_their_links_are_found():
    assert {"README.md", "docs/index.md"} <= {name_of(page) for page in PAGES if links_of(page)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in links_of(page):
        assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_readme_shows_the_two_integrations():
    text = (ROOT / "README.md").read_text("utf-8")
    for line in (
        "from kblam_integrations.langchain import KBLaMChat",
        "chain = prompt | chat | parser",
        'reply = chat.invoke("Who runs Monell Chemical Senses Center?")',
        'reply.content, reply.response_metadata["citations"]',
        "from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine",
        "engine = KBLaMQueryEngine.from_index(kg_index)",
    ):
        assert line in text


def test_command_reference_is_what_the_commands_say():
    written = subprocess.run(
        [sys.executable, ROOT / "tools" / "write_cli_reference.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == written, "run `make reference`"
