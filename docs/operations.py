"""Writes docs/operations.md, the table of operations, from their records: ``python -m docs.operations``."""

from __future__ import annotations

from pathlib import Path

import nn  # noqa: F401 (fills the registry, the engine's and its own)
from autodiff.primitive import REGISTRY, Primitive, filled

FAMILIES = {
    "elementwise": "Elementwise",
    "complex": "Parts of complex numbers",
    "reductions": "Reductions",
    "shape": "Shape",
    "indexing": "Indexing",
    "products": "Products",
    "sparse": "Products with sparse matrices",
    "linalg": "Linear algebra (`ad.linalg`)",
    "fourier": "Fourier transforms (`ad.fft`)",
    "norms": "Norms (`ad.linalg`)",
    "matrix_functions": "Functions of symmetric matrices (`ad.linalg`)",
    "primary_functions": "Functions of square matrices (`ad.linalg`)",
    "matrix_equations": "Systems with structure (`ad.linalg`)",
    "special": "Error functions, entropies and the normal distribution (`ad.special`)",
    "gamma": "Gamma and beta functions (`ad.special`)",
    "student": "Student's t distribution (`ad.stats`)",
    "bessel": "Bessel functions (`ad.special`)",
    "hypergeometric": "Hypergeometric functions (`ad.special`)",
    "integrals": "Functions defined by integrals (`ad.special`)",
    "powers": "Powers less 1 (`ad.special`)",
    "statistics": "Statistics",
    "sampled": "Functions known at points",
    "signals": "Convolutions and filters (`ad.signal`)",
    "fused": "Softmax and cross-entropy",
    "guards": "In rules",
}


def family_of(record: Primitive) -> str:
    """The file of operations that declares a record: where its rules are."""
    rule = record.joint or record.each or next(rule for rule in record.vjps if rule is not None)
    module = rule.__module__
    return f"`{module}`" if module.startswith("nn.") else module.rpartition(".")[2]


def table() -> str:
    """The whole page."""
    lines = [
        "# Operations",
        "",
        "Every primitive operation with its formula and local derivatives, from the records that the engine itself",
        "reads (`python -m docs.operations` writes this page). The output is y, the input x, or the inputs a, b, c.",
        "All other functions are made of these.",
    ]
    found = {family_of(record) for record in REGISTRY.values()}
    for family, title in (FAMILIES | {name: name for name in sorted(found) if name.startswith("`nn.")}).items():
        lines += ["", f"## {title}", "", "| operation | y | local derivatives |", "| --- | --- | --- |"]
        for record in REGISTRY.values():
            if family_of(record) == family:
                letters = ("x",) if len(record.vjps) == 1 else ("a", "b", "c", "d")
                cells = [filled(record.formula, letters), "; ".join(filled(d, letters) for d in record.derivatives)]
                lines.append(f"| `{record.name}` | " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("operations.md").write_text(table(), encoding="utf-8")
