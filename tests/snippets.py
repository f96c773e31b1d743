"""Code in the documentation's pages, run as a reader would: one block after the other in one program."""

import re
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run(page: Path) -> None:
    """Run a page's blocks; where a line says what it gives, `expression  # → value`, that is what it gives."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)
        for line in block.splitlines():
            match = re.fullmatch(r"(?:print\((.*)\)|(\S.*?))\s+# → (.*)", line)
            if match and "=" not in (match[2] or ""):
                shown = f"print({match[1]})" if match[1] else match[2]
                values = eval(f"({match[1]},)" if match[1] else f"({match[2]},)", names)
                assert " ".join(map(str, values)) == match[3], f"{page.name}: {shown} gives {values}"
