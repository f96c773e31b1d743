"""What the site adds to Sphinx: pages of the reference and pictures made at every build, and names that are links.

Order: pages that are written, docstrings as reStructuredText, names in prose, what of
others' files is kept.
"""

from __future__ import annotations

import inspect
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from docs.names import MODULES, described, entries, grouped

PACKAGES = ("autodiff", "nn", "optim")
ROOT = Path(__file__).resolve().parents[1]


def write_if_changed(path: Path, text: str) -> None:
    """Sphinx reads again what is newer than what it knows."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def described_elsewhere(kind: type) -> bool:
    """Whether a class has a place of its own for its members: on a page here, or in another library's documentation."""
    return any(kind is value for value in _public_classes()) or kind.__module__.split(".")[0] not in PACKAGES


@cache
def _public_classes() -> list[type]:
    return [e.value for module in MODULES for e in entries(module)[0] if isinstance(e.value, type)]


def reference_page(module: str) -> str:
    """A module's page: its docstring, a table of its names, and each name's docstring."""
    title = MODULES[module]
    heading = f"{title}: {module}"
    lines = [heading, "=" * len(heading), "", f".. automodule:: {module}", ""]
    groups = grouped(module)
    for group, members in groups.items():
        if len(groups) > 1:
            lines += [group or "Others", "-" * len(group or "Others"), ""]
        lines += [".. autosummary::", ""]
        lines += [f"   {e.name.removeprefix(module + '.')}" for e in members]
        lines += [""]
        for e in members:
            if isinstance(e.value, type):
                above = ", ".join(c.__name__ for c in e.value.__mro__[1:] if described_elsewhere(c))
                lines += [f".. autoclass:: {e.name}", "   :members:", f"   :inherited-members: {above}", ""]
            elif inspect.isfunction(e.value):
                lines += [f".. autofunction:: {e.name}", ""]
            else:
                lines += [f".. autodata:: {e.name}", "   :no-value:", ""]
    elsewhere = entries(module)[1]
    if elsewhere:
        lines += ["Described elsewhere", "-------------------", ""]
        lines += [f"- ``{name}`` is :py:obj:`{target}`" for name, target in elsewhere]
    return "\n".join(lines) + "\n"


def write_pages(app: Sphinx) -> None:
    """The reference, and the notebooks beside the page that lists them."""
    source = Path(app.srcdir)
    for module in MODULES:
        write_if_changed(source / "reference" / f"{module}.rst", reference_page(module))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        write_if_changed(source / "tutorials" / notebook.name, notebook.read_text(encoding="utf-8"))


def _inline(text: str) -> str:
    """A line of prose: `name` as code, and signs that mean something in reStructuredText as themselves."""
    parts = re.split(r"(``.+?``|`[^`]+`)", text)
    for k, part in enumerate(parts):
        if k % 2 == 0:
            parts[k] = re.sub(r"([\\*|])|(?<=\w)(_)(?=\W|$)", r"\\\1\2", part)
        elif not part.startswith("``"):
            parts[k] = f"`{part}`"
    return "".join(parts)


def restructured(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText: its code, examples, literal paragraphs and tables are written as in Markdown."""
    lines = re.sub(r"^( +(?:\w+, )*\w+,)\n +(?=(?:\w+, )*\w+:)", r"\1 ", "\n".join(lines), flags=re.M).split("\n")
    out: list[str] = []
    literal: int | None = None  # the indentation of the paragraph that ended in `::`
    example = table = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            example = table = False
        elif literal is not None and indent <= literal:
            literal = None
        if line.lstrip().startswith(">>>") and not example:
            if out and out[-1].strip():
                out.append("")
            example = True
        if not line.strip() or example or literal is not None:
            out.append(line)
        elif line.startswith("| "):
            if set(line) <= set("|-: "):
                continue
            if not table:
                out += [".. list-table::", "   :header-rows: 1", ""]
                table = True
            cells = line.strip("| ").split(" | ")
            out += [f"   {' ' if k else '*'} - {_inline(c)}" for k, c in enumerate(cells)]
        else:
            out.append(_inline(line))
            if line.rstrip().endswith("::"):
                literal = indent
    return out


OF_THE_WHOLE = re.compile(r"(Read(ing)?( in this)? order|Read in this order|Order:|[A-Z][\w ]*: {2,}\S)")
OF_THE_MACHINERY = re.compile(r"limits|beyond|pair|set_\w+_request")


def read_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings as the site shows them; a module's up to where it lists its names, or speaks of its files."""
    if what == "module":
        end = next((k for k, line in enumerate(lines) if OF_THE_WHOLE.match(line)), len(lines))
        del lines[end:]
    lines[:] = restructured(lines)
    if what in ("attribute", "data") and lines:
        lines.insert(0, "")  # what stands before a colon in the first line would be read as a type


def signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, given: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """How a class is made, and not how its metaclass is called."""
    if what != "class":
        return None
    try:
        made = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in made.parameters.values()]
    return str(made.replace(parameters=plain, return_annotation=inspect.Signature.empty)), None


def end_fields(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A blank line after the fields that napoleon has made of a docstring's sections."""
    in_fields, out = False, []
    for line in lines:
        if in_fields and line and not line.startswith((":", " ")):
            out.append("")
        if line and not line.startswith(" "):
            in_fields = line.startswith(":")
        out.append(line)
    lines[:] = out


def without_machinery(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    return True if OF_THE_MACHINERY.fullmatch(name) else None


class NamesAreLinks(SphinxTransform):
    """`ad.grad` in prose, in a docstring or in a notebook is a link to where it is described."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        known = described()
        page = self.env.docname.removeprefix("reference/")
        for node in list(self.document.findall(nodes.literal)):
            if _within(
                node, (nodes.title, nodes.reference, addnodes.pending_xref, nodes.term, addnodes.desc_signature)
            ):
                continue
            name = re.sub(r"\(.*\)$", "", node.astext(), flags=re.DOTALL)
            if not re.fullmatch(r"[\w.]+", name):
                continue
            owner, _, member = name.rpartition(".")
            whole, part = (known.get(n) or known.get(f"{page}.{n}") for n in (name, owner))
            target = whole or (part and f"{part}.{member}")
            if target is None:
                continue
            node.replace_self(
                addnodes.pending_xref(
                    "", node.deepcopy(), refdomain="py", reftype="obj", reftarget=target, refdoc=self.env.docname,
                    maybe=whole is None,
                )
            )  # fmt: skip


def no_link(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """What looks like a member of a class and is none stays code, and so does an internal class in an annotation."""
    internal = node.get("reftype") == "class" and node["reftarget"].split(".")[0] in PACKAGES
    return content if node.get("maybe") or internal else None


def _within(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def keep_what_is_used(app: Sphinx, exception: Exception | None) -> None:
    """MathJax's bundle holds every way to read and to write formulas, of which the pages use one; the theme leaves the
    template that its own pages are made of."""
    if exception is None:
        static = Path(app.outdir) / "_static"
        (static / "webpack-macros.html").unlink(missing_ok=True)
        for path in (static / "mathjax").glob("*"):
            if path.name not in ("tex-chtml.js", "input", "output"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("autodoc-process-docstring", end_fields, priority=900)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", without_machinery)
    app.connect("missing-reference", no_link)
    app.add_transform(NamesAreLinks)
    app.connect("build-finished", keep_what_is_used, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
