"""The methods of the API as the node's own tables and functions describe them."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
import types
from dataclasses import dataclass

import fieldpost.api
from fieldpost.rows import Row, describe

#: Packages whose functions are searched for the errors that a method may answer with.
_OURS = ("fieldpost.api", "fieldpost.staging")
_ERRORS = {
    "ConfigError": "`<path>: <value> is not allowed, expected <what is allowed>`",
    "DriverError": "the words of the driver",
}


@dataclass(frozen=True)
class Parameter:
    """One argument; ``default`` is None where ``required``, and for an optional one without."""

    name: str
    allowed: str
    required: bool
    default: object


@dataclass(frozen=True)
class Method:
    """One method; ``errors`` are the texts it may answer with beside those of every method."""

    module: str
    name: str
    kind: str
    doc: str
    parameters: tuple
    errors: tuple

    @property
    def full_name(self):
        """``module.method``."""
        return f"{self.module}.{self.name}"


def about(name):
    """The docstring of a module of the package ``fieldpost.api``."""
    return inspect.getdoc(importlib.import_module(f"fieldpost.api.{name}")) or ""


def modules():
    """``{name: (docstring, [Method, ...])}`` of every module of the API, by name."""
    found = {}
    for info in pkgutil.iter_modules(fieldpost.api.__path__):
        table = getattr(importlib.import_module(f"fieldpost.api.{info.name}"), "METHODS", None)
        if table:
            made = [_method(info.name, name, *row) for name, row in table.items()]
            found[info.name] = (about(info.name), made)
    return found


def _method(module, name, handler, parameters, kind):
    doc = inspect.getdoc(handler) or ""
    return Method(module, name, kind, doc, _parameters(parameters), _errors(handler))


def _parameters(text):
    lines = [line.strip().partition(": ") for line in text.splitlines() if line.strip()]
    return tuple(_parameter(name, Row(row)) for name, _, row in lines)


def _parameter(name, row):
    return Parameter(name, describe(row), row.required, None if row.required else row.default)


def _errors(handler):
    found = set()
    _search(handler, found, set())
    return tuple(sorted(found))


def _search(function, found, seen):
    """Add what ``function``, and what it calls of ours, raises."""
    seen.add(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.update(_text(node.exc))
    for called in _called(function, tree):
        if called not in seen:
            _search(called, found, seen)


def _text(call):
    name = getattr(call.func, "id", "")
    if name in _ERRORS:
        yield _ERRORS[name]
    elif name == "ApiError":
        words = call.args[0]
        if isinstance(words, ast.BinOp):
            words = words.left
        if isinstance(words, ast.Constant):
            yield f"`{re.sub('%[sd]', '…', words.value)}`"


def _called(function, tree):
    """Functions of ours whose names stand in ``function``."""
    names = {**function.__globals__, **dict(_imported(function, tree))}
    for node in ast.walk(tree):
        target = None
        if isinstance(node, ast.Name):
            target = names.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target = getattr(names.get(node.value.id), node.attr, None)
        if isinstance(target, types.FunctionType) and target.__module__.startswith(_OURS):
            yield target


def _imported(function, tree):
    """Pairs of name and what of ours the function itself imports under it."""
    package = function.__module__.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            source = importlib.import_module("." * node.level + (node.module or ""), package)
            for alias in node.names:
                yield alias.asname or alias.name, _member(source, alias.name)


def _member(module, name):
    if hasattr(module, name):
        return getattr(module, name)
    return importlib.import_module(f"{module.__name__}.{name}")
