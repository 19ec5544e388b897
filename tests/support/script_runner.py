"""Runs scripts in processes of their own, which need not load torch first.

Loading torch, Transformers and sentence-transformers takes a process longer than most scripts
take by themselves. One process loads them once, and forks for each script. Of kblam and of the
frameworks nothing is loaded before, and scripts share nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]

_TIMEOUT = 600  # seconds a script may take
_FORKING = """
import json, os, runpy, signal, sys
import peft, sentence_transformers, torch
from transformers import LlamaForCausalLM

assert "kblam" not in sys.modules
for line in sys.stdin:
    given = json.loads(line)
    if (child := os.fork()) == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

for number, name in enumerate((os.devnull, given["stdout"], given["stderr"])):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
os.chdir(given["cwd"])
sys.argv = given["command"]
sys.path[0] = os.path.dirname(sys.argv[0])
signal.alarm(given["timeout"])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextmanager
def script_runner(folder: Path) -> Iterator[Run]:
    """Yield what runs a script with arguments in a folder, and returns how it went.

    Args:
        folder: An empty one, for what the scripts print.
    """
    if sys.platform != "linux":  # there is no fork, or none that these libraries outlive
        yield _run_anew
        return
    with subprocess.Popen(
        [sys.executable, "-c", _FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forking:
        assert forking.stdin is not None
        assert forking.stdout is not None

        def run(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
            command = [str(script), *arguments]
            number = len(list(folder.iterdir()))
            printed = [folder / f"{number}.{name}" for name in ("stdout", "stderr")]
            given = {
                "command": command,
                "cwd": str(cwd),
                "stdout": str(printed[0]),
                "stderr": str(printed[1]),
                "timeout": _TIMEOUT,
            }
            forking.stdin.write(json.dumps(given) + "\n")
            forking.stdin.flush()
            returned = int(forking.stdout.readline())
            texts = [path.read_text("utf-8") for path in printed]
            return subprocess.CompletedProcess(command, returned, *texts)

        yield run
        forking.stdin.close()


def _run_anew(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_TIMEOUT,
        check=False,
    )
