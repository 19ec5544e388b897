"""Lets ``python -m kblam.cli`` stand for ``kblam``."""

from __future__ import annotations

from kblam.cli import app

if __name__ == "__main__":
    app()
