"""Templates held to what they are given: every name and every field in them exists.

A wrong one would else be an error in the call that first comes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from cards.texts.templates import ENDING, FOLDER, Template

Types = Mapping[str, Any]
"""The type of each name that is in scope; None where it is not known."""


class TemplateProblem(NamedTuple):
    """An error of a template, with its place and fix."""

    file: Path
    line: int
    problem: str
    repair: str


def template_problems(
    templates: Iterable[Template], environment: Environment, folder: Path = FOLDER
) -> Iterator[TemplateProblem]:
    """Everything that would go wrong once a template is filled in, one finding a place."""
    check = _Check(environment, folder)
    yield from dict.fromkeys(p for template in templates for p in check.problems(template))


class _Check:
    def __init__(self, environment: Environment, folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._imported: set[str] = set()
        self._macros: dict[str, tuple[Path, nodes.Macro]] = {}

    def problems(self, template: Template) -> Iterator[TemplateProblem]:
        path = self._folder / f"{template.name}{ENDING}"
        try:
            yield from self._problems(template, path)
        except TemplateSyntaxError as error:  # of the template, or of one that it imports
            at = self._folder / (error.name or path.name)
            yield TemplateProblem(at, error.lineno, str(error.message), "fix the template")

    def _problems(self, template: Template, path: Path) -> Iterator[TemplateProblem]:
        tree = self._tree(path.name)
        yield from _undeclared(tree, sorted(template.variables), path)
        yield from self._looked_at(tree, template.variables, path)

    def _tree(self, name: str) -> nodes.Template:
        """The parsed template; compiled first, for a filter that there is not is found so."""
        self._environment.get_template(name)
        return self._environment.parse((self._folder / name).read_text("utf-8"), name)

    def _looked_at(self, node: nodes.Node, types: Types, path: Path) -> Iterator[TemplateProblem]:
        if isinstance(node, nodes.FromImport):
            yield from self._import(node)
        elif isinstance(node, nodes.For):
            yield from self._looked_at(node.iter, types, path)
            inner = {**types, **_bound(node.target, _element(_type(node.iter, types)))}
            for each in (*node.body, *node.else_, *([node.test] if node.test else ())):
                yield from self._looked_at(each, inner, path)
        elif isinstance(node, nodes.Macro):
            return  # looked at where it is called, for its arguments are known there
        else:
            if isinstance(node, nodes.Getattr):
                yield from _missing(node, types, path)
            if isinstance(node, nodes.Call):
                yield from self._called(node, types)
            for child in node.iter_child_nodes():
                yield from self._looked_at(child, types, path)

    def _import(self, node: nodes.FromImport) -> Iterator[TemplateProblem]:
        name = str(node.template.value) if isinstance(node.template, nodes.Const) else ""
        if name and name not in self._imported:
            self._imported.add(name)
            path, tree = self._folder / name, self._tree(name)
            yield from _undeclared(tree, ["the macro's arguments"], path)
            self._macros.update({m.name: (path, m) for m in tree.find_all(nodes.Macro)})

    def _called(self, node: nodes.Call, types: Types) -> Iterator[TemplateProblem]:
        if isinstance(node.node, nodes.Name) and node.node.name in self._macros:
            path, macro = self._macros[node.node.name]
            given = dict(zip((a.name for a in macro.args), node.args, strict=False))
            inner = {name: _type(argument, types) for name, argument in given.items()}
            for each in macro.body:
                yield from self._looked_at(each, inner, path)


def _undeclared(
    tree: nodes.Template, known: Sequence[str], path: Path
) -> Iterator[TemplateProblem]:
    """The names that neither the template nor its values have."""
    for name in sorted(find_undeclared_variables(tree).difference(known)):
        line = next(n.lineno for n in tree.find_all(nodes.Name) if n.name == name)
        repair = f"use one of {', '.join(known)}"
        yield TemplateProblem(path, line, f"nothing fills in {name}", repair)


def _missing(node: nodes.Getattr, types: Types, path: Path) -> Iterator[TemplateProblem]:
    fields = _fields(_type(node.node, types))
    if fields is not None and node.attr not in fields:
        problem = f"there is no {node.attr} to fill in"
        yield TemplateProblem(path, node.lineno, problem, f"use one of {', '.join(fields)}")


def _type(node: nodes.Node, types: Types) -> Any:
    if isinstance(node, nodes.Name):
        return types.get(node.name)
    if isinstance(node, nodes.Getattr):
        return (_fields(_type(node.node, types)) or {}).get(node.attr)
    return None


@cache
def _fields(type_: Any) -> Mapping[str, Any] | None:
    """The fields of a class with annotations; None of anything else."""
    told = _told(type_)
    hints = get_type_hints(told) if isinstance(told, type) and told.__module__ != "builtins" else {}
    return hints or None


def _element(type_: Any) -> Any:
    """The element type of a tuple of any length."""
    told = _told(type_)
    return get_args(told)[0] if get_origin(told) is tuple else None


def _bound(target: nodes.Node, type_: Any) -> Types:
    if isinstance(target, nodes.Name):
        return {target.name: type_}
    inner = get_args(type_) if get_origin(type_) is tuple else ()
    names = [n.name for n in target.find_all(nodes.Name)]
    return dict(zip(names, (*inner, *[None] * len(names)), strict=False))


def _told(type_: Any) -> Any:
    """The type without None."""
    if get_origin(type_) in (Union, UnionType):
        rest = [each for each in get_args(type_) if each is not NoneType]
        return rest[0] if len(rest) == 1 else None
    return type_
