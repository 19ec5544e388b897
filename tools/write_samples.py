"""Print the samples page: fifty replies of an evaluation, drawn at random.

kblam evaluate --facts F.jsonl --questions Q.jsonl --num-facts 1000 --limit 300 --resume R.jsonl
python tools/write_samples.py R.jsonl > docs/samples.md
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

_NUM = 50
_HEAD = """# Fifty replies

Drawn at random (seed 0) from the {count} questions of

```console
$ kblam evaluate --facts facts.jsonl --questions questions.jsonl --num-facts 1000 --limit 300
```

with the bundled adapter, on 26 real relations, none of whose facts was trained on. Nothing is left
out or mended. A dash stands where the facts do not have the answer, so that a refusal is right.

| question | expected | reply |
| --- | --- | --- |
"""


def main() -> None:
    """Read the records and print the page."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    replies = [row for row in map(json.loads, lines) if "reply" in row]
    page = _HEAD.format(count=len(replies))
    for row in random.Random(0).sample(replies, min(_NUM, len(replies))):
        cells = (row["question"], " / ".join(row["answers"]) or "-", row["reply"])
        page += "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        page += " |\n"
    print(page, end="")


if __name__ == "__main__":
    main()
