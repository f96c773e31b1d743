"""The colours of pictures, light and dark, and how a picture follows the theme of the page that it is in."""

from __future__ import annotations

DARK = {
    "white": "#15181c", "#ffffff": "#1f242a", "#111111": "#eef3f7", "#444444": "#c3cad2", "#222222": "#dde3ea",
    "#555555": "#a9b1bb", "#888888": "#8d96a0", "#6b6b6b": "#a0a5ab", "#b0a0b0": "#6a5f6a",
    "#d6ecfa": "#12354a", "#0072b2": "#66b8e8", "#fde9c9": "#4a3510", "#a86a00": "#e5ab4b", "#7a4d00": "#f0c070",
    "#ececec": "#33373c", "#d9f2e6": "#113d2d", "#00734f": "#4fc79a", "#fffbe0": "#3b3817", "#8a7a2a": "#c2bd92",
    "#f3e3ee": "#42263a", "#8a4674": "#d79cc3", "#8f3c00": "#ffb380", "#cfe5f6": "#183c54", "#eccbe4": "#4a2a42",
    "#fffef6": "#1a1a14", "#f1f8fd": "#12202a", "#fcf3fa": "#241720",
}  # fmt: skip
"""For each colour of a picture on a light ground, the one on a dark ground."""


def theme(picture: str, svg: str) -> str:
    """The style sheet of an SVG whose root is to have the id `picture`: its colours follow the reader's theme, in a
    notebook that of the notebook (JupyterLab marks its body with an attribute, Visual Studio Code with a class). Where
    style sheets are not known, the light colours stay."""
    root = f"#{picture}"
    rules = [
        f"{root}{{color-scheme:light dark}}",
        f'[data-jp-theme-light="true"] {root},.vscode-light {root}{{color-scheme:light}}',
        f'[data-jp-theme-light="false"] {root},.vscode-dark {root}{{color-scheme:dark}}',
    ]
    for light, dark in DARK.items():
        for name in ("fill", "stroke"):
            if f'{name}="{light}"' in svg:
                rules.append(f'{root} [{name}="{light}"]{{{name}:light-dark({light},{dark})}}')
    return "".join(rules)
