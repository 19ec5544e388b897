"""Every example runs as a person would run it: in a process of its own, from the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = {
    "quickstart.py": ["QX-7719", "Mirela Osei", "refused"],
    "update_a_fact.py": ["555-1444", "777-9000", "cannot find"],
    "langchain_agent.py": ["Ines Okafor", "Tampere", "calls get_weather with {'city': 'Paris'}"],
    "langchain_chain.py": ["+358 55 0142 77", "Benjamin Smith", "Tampere"],
    "llama_index_agent.py": ["Mirela Osei", "find_budget", "48200"],
    "llama_index_engine.py": ["Ghent", "Ines Okafor"],
}

pytestmark = [pytest.mark.example, pytest.mark.weights, pytest.mark.long]


def test_every_script_is_listed_here():
    found = {path.name for path in EXAMPLES.glob("*.py")} - {"demo.py"}
    assert found == set(SCRIPTS)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_script(name, tmp_path, run_script):
    finished = run_script(EXAMPLES / name, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for expected in SCRIPTS[name]:
        assert expected in finished.stdout


def test_demo(tmp_path):
    """From nothing: not even the libraries are loaded before, as they are for the others."""
    finished = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py", "--questions", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for expected in ("Ouagadougou", "Ngultrum", "Mirela Osei", "6.8 bar", "ZT-0042-A"):
        assert expected in finished.stdout
    picture = tmp_path / "demo-output" / "attention.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_notebook(tmp_path):
    notebook = nbformat.read(EXAMPLES / "walkthrough.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    text = nbformat.writes(notebook)
    for expected in ("QX-7719", "ZT-0042", "Ghent", "image/png"):
        assert expected in text
