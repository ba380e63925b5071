"""Writes the synchronous client from the asynchronous one: the same public methods with the same arguments.

A method of the twin runs the asynchronous one on the client's private event loop and waits for it. An asynchronous
iterator becomes an ordinary one.
"""

import ast
from pathlib import Path

_HEAD = '''"""Generated from the asynchronous client by `make proto`: the same operations without async."""

# ruff: noqa

'''
# Class of the asynchronous client -> its twin.
_TWINS = {"Notes": "NotesSync", "Links": "LinksSync", "Search": "SearchSync", "Deletions": "DeletionsSync"}
_MODULES = ("notes", "links", "search", "deletions")


def source(package: Path) -> str:
    """The text of _sync.py. package: the folder of the asynchronous client."""
    imports: list[str] = []
    classes: list[str] = []
    for name in _MODULES:
        tree = ast.parse((package / f"{name}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module not in ("_calls", "_proto", None):
                imports.append(ast.unparse(node))
            elif isinstance(node, ast.ClassDef) and node.name in _TWINS:
                imports.append(f"from .{name} import {node.name}")
                classes.append(_class(node))
    head = [*dict.fromkeys(imports), "from collections.abc import Iterator", "from ._loop import Loop"]
    return _HEAD + "\n".join(sorted(head)) + "\n\n\n" + "\n\n\n".join(classes) + "\n"


def _class(node: ast.ClassDef) -> str:
    lines = [
        f"class {_TWINS[node.name]}:",
        f'    """{ast.get_docstring(node)}"""',
        "",
        f"    def __init__(self, loop: Loop, twin: {node.name}) -> None:",
        "        self._loop = loop",
        "        self._twin = twin",
    ]
    for method in node.body:
        if isinstance(method, ast.AsyncFunctionDef | ast.FunctionDef) and not method.name.startswith("_"):
            lines += ["", *_method(method)]
    return "\n".join(lines)


def _method(method: ast.AsyncFunctionDef | ast.FunctionDef) -> list[str]:
    returns = ast.unparse(method.returns) if method.returns is not None else "None"
    streams = returns.startswith("AsyncIterator")
    signature = f"    def {method.name}({ast.unparse(method.args)}) -> {returns.replace('AsyncIterator', 'Iterator')}:"
    passed = [argument.arg for argument in method.args.args[1:]]
    passed += [f"{argument.arg}={argument.arg}" for argument in method.args.kwonlyargs]
    run = "iterate" if streams else "run"
    body = f"        return self._loop.{run}(self._twin.{method.name}({', '.join(passed)}))"
    doc = ast.get_docstring(method, clean=False)
    return [signature, f'        """{doc}"""', body]
