"""The worked examples of the source documents by name, with their `inputs` and `expected` numbers."""

import json
from pathlib import Path

ENTRIES = {
    e["id"]: e for e in json.loads((Path(__file__).parent / "data" / "worked_examples.json").read_text())["entries"]
}
