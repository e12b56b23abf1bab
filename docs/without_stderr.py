"""Takes what notebooks printed to stderr out of them: progress, and paths of who ran them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fovea.files import write_text

for path in map(Path, sys.argv[1:]):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [one for one in cell["outputs"] if one.get("name") != "stderr"]
            cell["metadata"].pop("execution", None)  # when it ran
    write_text(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
