"""Print docs/cli.md: every command with its own help text. Run with `make reference`."""

from __future__ import annotations

import os

os.environ["COLUMNS"] = "88"
os.environ["TERM"] = "dumb"
os.environ["NO_COLOR"] = "1"

from typer.testing import CliRunner

from kblam.cli import app

HEADER = """\
# Command line

Every command answers a mistake with one message that says what was expected, and exits with code 2.
Results go to standard output, progress and messages to standard error.
"""


def help_of(*command: str) -> str:
    """Return what a command prints for --help, without trailing blanks."""
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="kblam")
    if result.exit_code != 0:
        raise RuntimeError(result.output)
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def main() -> None:
    """Write the page to standard output."""
    app.rich_markup_mode = None  # plain text, no boxes
    print(HEADER)
    print(f"```text\n{help_of()}\n```")
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        print(f"\n## kblam {name}\n\n```text\n{help_of(name)}\n```")


if __name__ == "__main__":
    main()
