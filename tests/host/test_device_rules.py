"""Rules of device code that no interpreter here would notice: layers, imports, missing names."""

import ast
import graphlib

import pytest

import device_suite

PACKAGE = device_suite.SDK / "fieldpost"

#: From the bottom up: a module imports its own layer (without a cycle) and those below. What is
#: named nowhere is a part: one idea that knows nothing of the node it is wired into.
BELOW = (("__init__",), ("compat",), ("errors",), ("tls",), ("net",))
ABOVE = (
    (
        "alarms",
        "api",
        "device",
        "drivers",
        "outlet",
        "publisher",
        "recorder",
        "subscription",
        "supervisor",
        "webhook",
    ),
    ("build", "reconfigure"),
    ("node",),
)
PART = 0
LAYER_OF = {name: layer - len(BELOW) for layer, names in enumerate(BELOW) for name in names}
LAYER_OF |= {name: layer for layer, names in enumerate(ABOVE, PART + 1) for name in names}

#: Modules of the official ESP32 firmware (1.22 and later) that device code may import.
FIRMWARE_MODULES = {
    "array",
    "asyncio",
    "binascii",
    "collections",
    "cryptolib",
    "deflate",
    "errno",
    "gc",
    "hashlib",
    "heapq",
    "io",
    "json",
    "math",
    "micropython",
    "ntptime",
    "os",
    "random",
    "re",
    "select",
    "socket",
    "ssl",
    "struct",
    "sys",
    "time",
    "umqtt.simple",
    "vfs",
}
HARDWARE = {"machine", "network", "esp32", "onewire", "ds18x20", "dht", "slots", "termios"}
MISSING_BUILTINS = {
    "BrokenPipeError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "FileExistsError",
    "FileNotFoundError",
    "PermissionError",
    "TimeoutError",
}
MISSING_ATTRIBUTES = {
    "casefold",
    "fsync",
    "hexdigest",
    "ljust",
    "monotonic",
    "removeprefix",
    "removesuffix",
    "rjust",
    "zfill",
}
MISSING_ASYNCIO = {"Condition", "Queue", "Semaphore", "TaskGroup", "timeout", "to_thread"}

FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
PORTABLE = [name for name in TREES if name != "fieldpost.compat"]


def resolve(target):
    """The file behind a dotted name: a package stands for its ``__init__``."""
    return f"{target}.__init__" if f"{target}.__init__" in FILES else target


def imports(name):
    """Every module that ``name`` imports, at any depth, by its full dotted name."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (resolve(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")[: -node.level] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = resolve(f"{base}.{alias.name}")
                yield inner if inner in FILES else resolve(base)


def siblings(name):
    """The imported modules of the package itself."""
    return {target for target in imports(name) if target.split(".")[0] == "fieldpost"}


def layer(name):
    """Number of a module's layer; modules of a package have the package's."""
    return LAYER_OF.get(name.split(".")[1], PART)


def nodes(name, *kinds):
    return [node for node in ast.walk(TREES[name]) if isinstance(node, kinds)]


@pytest.mark.parametrize("name", TREES)
def test_imports_go_down(name):
    upward = {target for target in siblings(name) if layer(target) > layer(name)}
    assert not upward


def test_no_import_cycle():
    graph = {name: siblings(name) & set(FILES) for name in FILES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", PORTABLE)
def test_imports_only_what_the_firmware_has(name):
    outside = {target for target in imports(name) if target.split(".")[0] != "fieldpost"}
    assert outside <= FIRMWARE_MODULES | HARDWARE


@pytest.mark.parametrize("name", TREES)
def test_hardware_is_imported_inside_functions(name):
    inside = {
        child
        for function in nodes(name, ast.FunctionDef, ast.AsyncFunctionDef)
        for child in ast.walk(function)
    }
    for node in nodes(name, ast.Import, ast.ImportFrom):
        names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
        assert node in inside or not names & HARDWARE, f"line {node.lineno}"


@pytest.mark.parametrize("name", PORTABLE)
def test_uses_no_name_that_micropython_lacks(name):
    bound = {
        alias.asname or alias.name
        for node in nodes(name, ast.Import, ast.ImportFrom)
        for alias in node.names
    }
    used = {(node.id, node.lineno) for node in nodes(name, ast.Name) if node.id not in bound}
    assert not {one for one in used if one[0] in MISSING_BUILTINS}
    for node in nodes(name, ast.Attribute):
        of_asyncio = isinstance(node.value, ast.Name) and node.value.id == "asyncio"
        assert node.attr not in MISSING_ATTRIBUTES, f"line {node.lineno}"
        assert not (of_asyncio and node.attr in MISSING_ASYNCIO), f"line {node.lineno}"


@pytest.mark.parametrize("name", PORTABLE)
def test_only_compat_asks_for_the_interpreter(name):
    asked = [node.lineno for node in nodes(name, ast.Attribute) if node.attr == "implementation"]
    assert not asked


@pytest.mark.parametrize("name", TREES)
def test_syntax_that_stays_correct_on_the_device(name):
    # assert vanishes under -O; a silent handler hides what a node must count.
    assert not [node.lineno for node in nodes(name, ast.Assert, ast.Match)]
    for function in nodes(name, ast.FunctionDef, ast.AsyncFunctionDef):
        assert not function.args.posonlyargs, f"line {function.lineno}"
    for handler in nodes(name, ast.ExceptHandler):
        assert handler.type is not None, f"line {handler.lineno}: bare except"
        broad = isinstance(handler.type, ast.Name) and handler.type.id == "Exception"
        silent = isinstance(handler.body[0], ast.Pass)
        assert not (broad and silent), f"line {handler.lineno}: swallows every error"
