"""Holds FHIR JSON against the profiles of a FHIR package, as much of a validator as answers need.

It checks cardinalities, the types of choices, the types that references lead to, fixed values and
patterns, required bindings, slices, elements that no profile knows, and invariants of severity
error. It leaves the form of primitive values and base resources to fhir.resources, and it knows
nothing of FHIR's own value sets, nor of extensible bindings: those allow what they do not list.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirpathpy import compile as compile_fhirpath
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

Json = Mapping[str, Any]
Codes = frozenset[tuple[str, str]]
"""(system, code) pairs."""
FHIRS_OWN = "http://hl7.org/fhir/ValueSet/"


class Package:
    """The definitions of a FHIR package, read in place from its .tgz and indexed by canonical URL.

    `value_sets` are those of other packages that its profiles bind to.
    """

    def __init__(self, archive: Path, value_sets: Mapping[str, Codes]) -> None:
        self._value_sets = dict(value_sets)
        self._by_url: dict[str, Json] = {}
        self.examples: list[Json] = []
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                file = tar.extractfile(member)
                if file is None or not name.endswith(".json") or name.startswith("."):
                    continue
                if folder == "package/example":
                    self.examples.append(json.load(file))
                elif folder == "package" and "url" in (resource := json.load(file)):
                    self._by_url[resource["url"]] = resource

    def holds(self, url: str) -> bool:
        return url in self._by_url

    def profile(self, url: str) -> Profile:
        return Profile(self, self._by_url[url])

    def profile_of(self, resource_type: str) -> Profile:
        """This package's one profile of a resource type."""
        (structure,) = (
            r
            for r in self._by_url.values()
            if r.get("kind") == "resource" and r.get("type") == resource_type
        )
        return Profile(self, structure)

    def type_of(self, profile_url: str) -> str:
        """The resource type that a profile, or a base definition, is about.

        US Core's, which lie in another package, tell it in their names, though in lower case.
        """
        known = self._by_url.get(profile_url)
        if known is not None:
            return str(known["type"])
        return profile_url.rpartition("/")[2].removeprefix("us-core-")

    def codes(self, value_set_url: str) -> Codes | None:
        """Every code of a value set; None for one of FHIR's own, which no package holds.

        KeyError where it is of another package and not among `value_sets`.
        """
        url = value_set_url.partition("|")[0]
        if url in self._value_sets:
            return self._value_sets[url]
        if url.startswith(FHIRS_OWN):
            return None
        codes: set[tuple[str, str]] = set()
        for include in self._by_url[url]["compose"]["include"]:
            listed = include.get("concept") or self._filtered(include)
            codes.update((include["system"], concept["code"]) for concept in listed)
        return frozenset(codes)

    def _filtered(self, include: Json) -> Iterator[Json]:
        concepts = self._by_url[include["system"]]["concept"]
        (condition,) = include["filter"]
        if condition["op"] != "descendent-of":
            raise NotImplementedError(condition["op"])
        for concept in _descendants(concepts):
            if concept["code"] == condition["value"]:
                yield from _descendants(concept.get("concept", []))


def _descendants(concepts: list[Json]) -> Iterator[Json]:
    for concept in concepts:
        yield concept
        yield from _descendants(concept.get("concept", []))


@dataclass
class Element:
    """One ElementDefinition of a snapshot, with the elements and the slices below it."""

    id: str
    definition: Json
    children: dict[str, Element] = field(default_factory=dict)
    slices: dict[str, Element] = field(default_factory=dict)

    @property
    def types(self) -> list[str]:
        return [t["code"] for t in self.definition.get("type", [])]

    @property
    def profiles(self) -> list[str]:
        """The profiles that the element's value must conform to."""
        return [url for t in self.definition.get("type", []) for url in t.get("profile", [])]

    @property
    def fhirpath_base(self) -> str:
        """Where FHIRPath learns which choices the element has: its type, or its own path."""
        named = [t for t in self.types if t[0].isupper() and t != "BackboneElement"]
        return named[0] if named else str(self.definition["path"])


class Profile:
    """One StructureDefinition with a snapshot."""

    def __init__(self, package: Package, structure: Json) -> None:
        self._package = package
        self.type: str = structure["type"]
        self.url: str = structure["url"]
        self.root = _tree(structure["snapshot"]["element"])

    def extensions(self) -> frozenset[str]:
        """The profiles of the extensions that the profile has a slot for on its root."""
        slots = self.root.children["extension"].slices.values()
        return frozenset(url for slot in slots for url in slot.profiles)

    def supported(self) -> frozenset[str]:
        """The names of the root's elements that are mandatory or must be supported.

        A choice is named by each of its types ("occurrenceDateTime").
        """
        names: set[str] = set()
        for name, child in self.root.children.items():
            of_any = [child, *child.slices.values()]
            if any(e.definition.get("min") or e.definition.get("mustSupport") for e in of_any):
                stem = name.removesuffix("[x]")
                kinds = {t for e in of_any for t in e.types} if stem != name else {""}
                names.update(f"{stem}{kind[:1].upper()}{kind[1:]}" for kind in kinds)
        return frozenset(names)

    def problems(self, instance: Json) -> list[str]:
        """What is wrong with the instance, each with its place; empty if it conforms."""
        # FHIRPath leaves notes of its own in what it looks at.
        instance = copy.deepcopy(dict(instance))
        return list(self._below(instance, self.root, self.type, instance))

    def _below(self, value: Any, element: Element, place: str, resource: Json) -> Iterator[str]:
        yield from self._of_itself(value, element, place, resource)
        if not element.children or not isinstance(value, Mapping):
            return
        known = set()
        for name, child in element.children.items():
            found = list(_occurrences(value, name))
            known |= {key for key, _ in found}
            yield from _cardinality(len(found), child, f"{place}.{name}")
            for key, item in found:
                yield from _choice(key, child, place)
                yield from self._below(item, child, f"{place}.{key}", resource)
            for slice_name, of_slice in child.slices.items():
                members = [(k, i) for k, i in found if _belongs(k, i, child, of_slice)]
                yield from _cardinality(len(members), of_slice, f"{place}.{name}:{slice_name}")
                for key, item in members:
                    yield from _choice(key, of_slice, place)
                    yield from self._below(item, of_slice, f"{place}.{key}:{slice_name}", resource)
        for key in value.keys() - known - {"resourceType"}:
            yield f"{place}.{key}: not in the profile"

    def _of_itself(self, value: Any, element: Element, place: str, resource: Json) -> Iterator[str]:
        definition = element.definition
        for key, wanted in definition.items():
            if key.startswith("fixed") and value != wanted:
                yield f"{place}: not {wanted!r}"
            if key.startswith("pattern") and not _matches(value, wanted):
                yield f"{place}: does not match {wanted!r}"
        if definition.get("binding", {}).get("strength") == "required":
            yield from self._binding(value, definition["binding"]["valueSet"], place)
        for url in element.profiles:
            if self._package.holds(url):
                yield from (f"{place} → {p}" for p in self._package.profile(url).problems(value))
        if "Reference" in element.types and isinstance(value, Mapping):
            yield from self._target(value, element, place)
        for constraint in definition.get("constraint", []):
            if constraint["severity"] == "error" and not holds(
                constraint, value, element, resource
            ):
                yield f"{place}: {constraint['key']}: {constraint['human']}"

    def _binding(self, value: Any, value_set: str, place: str) -> Iterator[str]:
        codes = self._package.codes(value_set)
        if codes is None:
            return
        if isinstance(value, str):
            good = value in {code for _, code in codes}
        else:
            codings = value.get("coding", []) if "coding" in value or "text" in value else [value]
            good = any((c.get("system"), c.get("code")) in codes for c in codings)
        if not good:
            yield f"{place}: not in {value_set}"

    def _target(self, reference: Json, element: Element, place: str) -> Iterator[str]:
        allowed = {
            self._package.type_of(url)
            for t in element.definition["type"]
            for url in t.get("targetProfile", [])
        }
        literal = reference.get("reference", "")
        found = literal.split("/")[-2] if "/" in literal else reference.get("type")
        known = {name.lower() for name in allowed}
        if found and known and "resource" not in known and found.lower() not in known:
            yield f"{place}: leads to {found}, not to {' or '.join(sorted(allowed))}"


def _tree(elements: list[Json]) -> Element:
    """The snapshot's flat list as a tree; "a.b:c.d" hangs d below the slice c of a's element b."""
    by_id: dict[str, Element] = {}
    root: Element | None = None
    for definition in elements:
        element = by_id[definition["id"]] = Element(definition["id"], definition)
        parent_id, _, last = definition["id"].rpartition(".")
        name, _, slice_name = last.partition(":")
        if root is None:
            root = element
        elif slice_name:
            by_id[f"{parent_id}.{name}"].slices[slice_name] = element
        else:
            by_id[parent_id].children[name] = element
    if root is None:
        raise ValueError("a StructureDefinition without a snapshot")
    return root


def _occurrences(value: Json, name: str) -> Iterator[tuple[str, Any]]:
    """(key, item) of every occurrence of an element; "value[x]" is found as "valueCode"."""
    if name.endswith("[x]"):
        stem = name.removesuffix("[x]")
        keys = [k for k in value if k.startswith(stem) and k[len(stem) : len(stem) + 1].isupper()]
    else:
        keys = [name] if name in value else []
    for key in keys:
        items = value[key] if isinstance(value[key], list) else [value[key]]
        for item in items:
            yield key, item


def _cardinality(count: int, element: Element, place: str) -> Iterator[str]:
    least, most = element.definition.get("min", 0), element.definition.get("max", "*")
    if count < least or (most != "*" and count > int(most)):
        yield f"{place}: {least}..{most}, but {count} found"


def _choice(key: str, element: Element, place: str) -> Iterator[str]:
    stem = element.id.rpartition(".")[2].partition(":")[0]
    if stem.endswith("[x]"):
        chosen = key.removeprefix(stem.removesuffix("[x]"))
        if chosen.lower() not in {t.lower() for t in element.types}:
            yield f"{place}.{key}: not one of the types {', '.join(element.types)}"


def _belongs(key: str, item: Any, sliced: Element, of_slice: Element) -> bool:
    """Whether an occurrence is a member of a slice, by the discriminators of its element."""
    for discriminator in sliced.definition["slicing"]["discriminator"]:
        kind, path = discriminator["type"], discriminator["path"]
        if kind == "type" and path == "$this":
            if not any(key.lower().endswith(t.lower()) for t in of_slice.types):
                return False
        elif of_slice.profiles:
            # An extension's slice is told by the profile that its type has.
            if item.get(path) not in of_slice.profiles:
                return False
        elif kind in ("value", "pattern"):
            at = of_slice.children[path].definition
            wanted = next(v for k, v in at.items() if k.startswith(("fixed", "pattern")))
            if not _matches(item.get(path), wanted):
                return False
        else:
            raise NotImplementedError(discriminator)
    return True


def _matches(value: Any, pattern: Any) -> bool:
    """Whether everything that the pattern says is in the value."""
    if isinstance(pattern, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _matches(value[key], wanted) for key, wanted in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(_matches(item, wanted) for item in value) for wanted in pattern
        )
    return bool(value == pattern)


def holds(constraint: Json, value: Any, element: Element, resource: Json) -> bool:
    """Whether an invariant holds; what it cannot tell does not hold, as validators read it."""
    by_hand = BY_HAND.get(constraint["key"])
    if by_hand is not None:
        return by_hand(value)
    node = ResourceNode.create_node(value, element.fhirpath_base)
    return bool(_compiled(constraint["expression"])(node, {"resource": resource}) == [True])


@functools.cache
def _compiled(expression: str) -> Callable[[Any, Json], list[Any]]:
    compiled: Callable[[Any, Json], list[Any]] = compile_fhirpath(expression, models["r4"])
    return compiled


def _has_a_value_or_children(value: Any) -> bool:
    return value not in ("", [], {}, None) and not (
        isinstance(value, Mapping) and [*value] == ["id"]
    )


def _parts(extension: Json, url: str) -> list[Json]:
    return [part for part in extension.get("extension", []) if part.get("url") == url]


def _pa_needed_is_there(extension: Json) -> bool:
    """As the expression is evaluated, not as its text says.

    `where(covered is not not-covered) implies pa-needed.exists()`: for not-covered its left side is
    empty, so that without pa-needed the whole is empty, which a validator takes for a failure.
    """
    return bool(_parts(extension, "pa-needed"))


def _satisfied_needs_no_documents_for_it(extension: Json) -> bool:
    satisfied = any(p.get("valueCode") == "satisfied" for p in _parts(extension, "pa-needed"))
    purposes = {p.get("valueCode") for p in _parts(extension, "doc-purpose")}
    return not (satisfied and "PA" in purposes)


def _task_asks_for_a_form_or_fulfilment(task: Json) -> bool:
    coded = [(c.get("system"), c.get("code")) for c in task.get("code", {}).get("coding", [])]
    asks = any(
        c.get("system") == SDC_TEMP and c.get("code") == "questionnaire"
        for i in task.get("input", [])
        for c in i.get("type", {}).get("coding", [])
    )
    focus = task.get("focus", {}).get("reference", "")
    if ("http://hl7.org/fhir/CodeSystem/task-code", "fulfill") in coded:
        return bool(re.search(r"(^|/)ServiceRequest/", focus)) and not asks
    return (SDC_TEMP, "complete-questionnaire") in coded and "focus" not in task and asks


def _contained_is_referred_to(resource: Json) -> bool:
    text = json.dumps(resource)
    return all(f'"#{inner.get("id")}"' in text for inner in resource.get("contained", []))


SDC_TEMP = "http://hl7.org/fhir/uv/sdc/CodeSystem/temp"

BY_HAND: Mapping[str, Callable[[Any], bool]] = {
    "ele-1": _has_a_value_or_children,  # hasValue() is unknown to fhirpathpy
    "dom-3": _contained_is_referred_to,  # it calls trace(), which prints
    "sdc-t1": _task_asks_for_a_form_or_fulfilment,  # resolve() is unknown to fhirpathpy
    "crd-ci-q2": _pa_needed_is_there,  # this and the next: fhirpathpy wants a boolean for `where`
    "crd-ci-q4": _satisfied_needs_no_documents_for_it,
}
"""Invariants that fhirpathpy does not evaluate, by key."""
