"""What mkdocs cannot know by itself: pages from outside docs/, the API reference, the gallery, and links between them.

mkdocs loads this module as a hook (mkdocs.yml). `make docs` first makes build/example, a run of the demo, and
build/notebooks, the executed notebooks.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import zlib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "build" / "example"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Path in the repository → path in the site, for pages that are written elsewhere.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "se_probe/demo/MODEL_CARD.md": "model-card.md",
    "se_probe/demo/PHOTO_MODEL_CARD.md": "photo-model-card.md",
    "notebooks/README.md": "notebooks/index.md",
    **{f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in NOTEBOOKS},
}
# Folders that are linked to, and the page that stands for each.
FOLDERS = {"notebooks": "notebooks/index.md", "benchmarks": "benchmarks.md", "docs": "index.md"}
# Files that are shown as they are.
FILES = {"LICENSE": "LICENSE.txt", "se_probe/labels/WORDNET_LICENSE.txt": "WORDNET_LICENSE.txt"}
PROJECT = (
    "architecture.md",
    "contributing.md",
    "changelog.md",
    "benchmarks.md",
    "model-card.md",
    "photo-model-card.md",
)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every page into the navigation, so that a new one needs no entry."""
    guides = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    config.nav = [
        {"Home": "index.md"},
        {"Guides": [name for name in guides if name not in PROJECT]},
        {"Notebooks": [PAGES[f"notebooks/{name}"] for name in ("README.md", *(path.name for path in NOTEBOOKS))]},
        {"Gallery": "gallery.md"},
        {"Reference": [*(f"reference/{name}.md" for name in ("index", "command-line", *packages()))]},
        {"Project": [name for name in PROJECT if name in guides or name in PAGES.values()]},
    ]
    return config


def packages() -> dict[str, dict[str, str]]:
    """Return for each subpackage with public names where each of them is defined; every name is listed once."""
    found: dict[str, dict[str, str]] = {}
    listed: set[str] = set()
    for path in sorted((ROOT / "se_probe").glob("*/__init__.py")):
        names = {name: home for name, home in public_names(names_of(path.parent)).items() if home not in listed}
        listed |= set(names.values())
        if names and path.parent.name != "cli":
            found[path.parent.name] = names
    return found


def names_of(package: Path) -> Path:
    """Return the file that imports a package's public names: its stub, where it has one."""
    stub = package / "__init__.pyi"
    return stub if stub.is_file() else package / "__init__.py"


def public_names(path: Path) -> dict[str, str]:
    """Return for each name in the `__all__` of a module, or in a stub, the dotted path where it is defined."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    assigned = (node for node in nodes if isinstance(node, ast.Assign))
    stated = [node.value for node in assigned if getattr(node.targets[0], "id", "") == "__all__"]
    names = [str(name) for name in ast.literal_eval(stated[0])] if stated else []
    if path.suffix == ".pyi":
        names = [item.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module for item in node.names]
    return {name: home for name in names if (home := defined_at(path, name))}


def defined_at(path: Path, name: str) -> str:
    """Return the dotted path of a name, through the imports that bring it into a module; "" for a module."""
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = next((node for node in imports if node.module and any(a.name == name for a in node.names)), None)
    if found is None:
        return f"{module}.{name}"
    home = f"{module}.{found.module}" if found.level else str(found.module)
    place = ROOT / home.replace(".", "/")
    if (place / f"{name}.py").is_file() and home == module:
        return ""
    return defined_at(names_of(place) if place.is_dir() else place.with_suffix(".py"), name)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated or lie outside docs/, and the files that they show."""
    generated = {PAGES[name]: (ROOT / name).read_text() for name in PAGES if name.endswith(".md")}
    generated |= {PAGES[f"notebooks/{path.name}"]: notebook_page(path) for path in NOTEBOOKS}
    generated |= {f"reference/{name}.md": reference_page(name, homes) for name, homes in packages().items()}
    generated |= {"reference/index.md": front_page(), "reference/command-line.md": command_line_page()}
    generated["gallery.md"] = gallery_page()
    for name, content in generated.items():
        files.append(File.generated(config, name, content=content))
    shown = {f"example/{path.name}": path for path in (EXAMPLE / "figures").glob("*.png")}
    shown |= {f"photographs/{path.name}": path for path in (ROOT / "reports/example/figures").glob("*.png")}
    shown |= {"example/report.html": EXAMPLE / "report.html"} | {there: ROOT / here for here, there in FILES.items()}
    for name, path in shown.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def reference_page(package: str, homes: dict[str, str]) -> str:
    """Return a page that documents the public names of a subpackage."""
    purpose = ast.get_docstring(ast.parse((ROOT / "se_probe" / package / "__init__.py").read_text())) or ""
    blocks = "\n\n".join(f"::: {home}" for home in homes.values())
    return f"# se_probe.{package}\n\n{purpose}\n\n{blocks}\n"


def front_page() -> str:
    """Return the page of what `import se_probe` gives: what no subpackage documents, and links to all else."""
    homes = public_names(ROOT / "se_probe" / "__init__.pyi")
    elsewhere = {home for names in packages().values() for home in names.values()}
    rows = "\n".join(f"- [`se_probe.{name}`][{home}]" for name, home in homes.items())
    blocks = "\n\n".join(f"::: {home}" for home in homes.values() if home not in elsewhere)
    return f"# se_probe\n\nThe names that `import se_probe` gives:\n\n{rows}\n\n{blocks}\n"


def command_line_page() -> str:
    """Return a page with the help of every command."""
    import typer
    from typer.testing import CliRunner

    from se_probe.cli import app

    def helped(words: list[str]) -> str:
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"})
        return f"## se-probe {' '.join(words)}\n\n```text\n{shown.output.strip()}\n```"

    def walked(command: Any, words: list[str]) -> list[str]:
        below = getattr(command, "commands", {})
        return [helped(words), *(page for name, part in below.items() for page in walked(part, [*words, name]))]

    return "# Command line\n\n" + "\n\n".join(walked(typer.main.get_command(app), [])) + "\n"


def gallery_page() -> str:
    """Return a page with every figure of the demo's run, and the way to its report."""
    from se_probe.figures import INTERVENTION_FIGURES
    from se_probe.report.figures import known_figures, run_figures

    lines = [
        "# Gallery",
        "Figures of `se-probe ablate --demo --with mean`, which records gates first. The network is small and the "
        "images are drawn, so that nothing here is a finding about photographs.",
        "[Open the report of that run](example/report.html) to click through its findings, tables and channels.",
    ]
    for figure in [*run_figures(EXAMPLE / "figures"), *known_figures(EXAMPLE / "figures", INTERVENTION_FIGURES)]:
        picture = Path(figure.files["png"]).name
        lines += [f"## {figure.title}", figure.note, f"![{figure.title}](example/{picture})"]
    return "\n\n".join(lines) + "\n"


def notebook_page(path: Path) -> str:
    """Return an executed notebook as Markdown: prose, code, printed text and figures."""
    executed = ROOT / "build" / "notebooks" / path.name
    notebook = json.loads((executed if executed.is_file() else path).read_text())
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_shown(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts) + "\n"


def _shown(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="figure" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        return "".join(data["text/html"])
    text = "".join(output.get("text") or data.get("text/plain", []))
    return f"```text\n{text}\n```"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links between files of the repository to the pages of the site."""
    here = page.file.src_uri
    source = next((name for name, there in PAGES.items() if there == here), f"docs/{here}")
    places = PAGES | FOLDERS | FILES | {f"docs/{file.src_uri}": file.src_uri for file in files}

    def led(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if target.startswith("reports/example/figures/"):
            place = f"photographs/{posixpath.basename(target)}"
        else:
            place = places.get(target, "")
        return posixpath.relpath(place, posixpath.dirname(here) or ".") if place else match[1]

    return _LINK.sub(led, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a public name is not in the reference."""
    inventory = (Path(config.site_dir) / "objects.inv").read_bytes().split(b"\n", 4)[4]
    documented = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    expected = set(public_names(ROOT / "se_probe" / "__init__.pyi").values())
    expected |= {home for names in packages().values() for home in names.values()}
    if missing := sorted(expected - documented):
        raise PluginError(f"the reference does not hold {', '.join(missing)}")
