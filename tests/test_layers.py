"""The import rule: a layer imports only from the layers below it, and the engine never imports the page."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
# from the bottom up; names on one line must not import each other
LAYERS = [
    {"registry", "progress", "palette", "processes"},
    {"cache"},
    {"families", "joining", "checkpoints", "atlas", "hub", "request", "subjects"},
    {"gguf_files"},
    {"wheels"},
    {"memory", "records", "active", "structure", "chat"},
    {"tasks", "scopes", "benchmarks", "backbone"},
    {"changes", "encoder_decoder"},
    {"generation", "loading", "trunk"},
    {"statistics"},
    {"sources"},
    {"methods", "catalog"},
    {"session", "directions", "evaluation"},
    {"events", "editors", "importing"},
    {"verdicts"},
    {"studio", "export", "training"},
    {"comparing", "experiments", "inspecting", "many", "session_files", "soaking"},
    {"__init__", "cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def sources() -> list[Path]:
    """Every module of the engine and the page."""
    return [path for package in ("model_zoo", "demo") for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> list[tuple[str, int]]:
    """Absolute names of what a file imports at run time, with line numbers."""
    package = path.relative_to(ROOT).parent.parts
    found = []
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, node.module] if node.module else base)
            found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def test_every_module_has_a_layer_and_keeps_it():
    wrong = []
    for path in sorted((ROOT / "model_zoo").rglob("*.py")):
        own = path.relative_to(ROOT / "model_zoo").parts[0].removesuffix(".py")
        assert own in LEVEL, f"{path} has no layer; add it to LAYERS"
        for name, line in imports(path):
            if name.startswith("model_zoo."):
                other = name.split(".")[1]
                if other != own and LEVEL.get(other, LEVEL["__init__"]) >= LEVEL[own] and other in LEVEL:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {other}")
    assert wrong == []


def test_no_import_waits_for_a_type_checker():
    """An import for types alone hides a cycle: two modules that know each other."""
    for path in (ROOT / "model_zoo").rglob("*.py"):
        assert "TYPE_CHECKING" not in path.read_text(), path


def test_no_module_imports_itself_around_a_corner():
    """Deferred imports count: no cycle among the modules of the engine and the page."""
    modules = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources()
    }
    names = set(modules.values())

    def target(name: str) -> str | None:
        """The module that an imported name is or lies in."""
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name or None

    needs = {own: {target(name) for name, _ in imports(path)} - {own, None} for path, own in modules.items()}
    order = TopologicalSorter(needs)
    order.prepare()  # CycleError names the modules


def test_the_engine_never_imports_the_page():
    for path in (ROOT / "model_zoo").rglob("*.py"):
        for name, line in imports(path):
            assert name.split(".")[0] not in ("gradio", "plotly", "demo", "app"), (
                f"{path}:{line} imports {name}"
            )


def test_editing_and_training_load_without_page_libraries():
    code = (
        "import sys\nfor name in ('gradio', 'plotly', 'datasets'): sys.modules[name] = None\n"
        "import model_zoo.__main__, model_zoo.studio, model_zoo.training.meta, model_zoo.training.pretrain"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_architecture_is_named_outside_its_file():
    for path in (ROOT / "model_zoo").rglob("*.py"):
        if path.name != "families.py":
            assert "model_type ==" not in path.read_text(), path
