"""The directive ``picture``: a function of pictures.py is called, and what it returns stands on the page.

    ```{picture} neuron
    A caption.
    ```

With the option ``:code:`` the function's source stands below. Graphs and tables of steps are part of the page; they
follow its light and dark colours, and their details show under the pointer. Figures are files beside it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, ClassVar

import matplotlib
import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib import pyplot
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs import pictures

matplotlib.use("Agg")


def _figure(drawn: Any, path: Path, dpi: int = 120) -> None:
    figure = np.ravel(drawn)[0].figure
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=dpi, bbox_inches="tight")
    pyplot.close(figure)


class Picture(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"code": directives.flag}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        draw = getattr(pictures, name)
        self.env.note_dependency(pictures.__file__)
        caption = " ".join(self.content)
        drawn = draw()
        node: nodes.Node
        if hasattr(drawn, "_repr_html_"):
            html = re.sub(r"\s*<!--.*?-->", "", drawn._repr_html_(), flags=re.DOTALL)
            html = re.sub(r'(<iframe[^>]*? title=")', rf"\1{name.replace('_', ' ')}: ", html)  # told apart
            html = f'<div class="picture" role="group" aria-label="{name.replace("_", " ")}">{html}</div>'
            node = nodes.raw("", html, format="html")
        else:
            path = Path(self.env.srcdir) / "_pictures" / f"{name}.png"
            _figure(drawn, path)
            node = nodes.image(uri=f"/_pictures/{name}.png", alt=caption or name.replace("_", " "))
        holder = nodes.container(classes=["drawn"])
        holder += node
        found: list[nodes.Node] = [holder]
        if caption:
            parsed = nodes.paragraph(classes=["picture-caption"])
            children, messages = self.parse_inline(caption)
            parsed += children
            holder += [parsed, *messages]
        if "code" in self.options:
            source = textwrap.dedent("".join(inspect.getsourcelines(draw)[0]))
            found.append(nodes.literal_block(source, source, language="python"))
        return found


def main() -> None:
    """The README's pictures, beside this file."""
    here = Path(__file__).parent
    pictures.neuron().render("first_graph", directory=here, format="svg", cleanup=True)
    for name in ("spectral_density", "optimisers"):
        _figure(getattr(pictures, name)(), here / f"{name}.png", dpi=80)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    main()
