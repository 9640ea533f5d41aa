"""Gives the fields of a record the texts below them in its source, for `help()`.

Python drops such texts, and says "Alias for field number 0". They are read when somebody first asks for the record's
own `__doc__`, as `help()` does: the import pays nothing, and each text stands once, where editors look for it too.
"""

from __future__ import annotations

from itertools import pairwise
from sys import modules
from typing import TypeVar

T = TypeVar("T")


def with_field_docs(record: type[T]) -> type[T]:
    """Return the record, whose `__doc__` brings the texts of its fields along."""
    record.__doc__ = _RecordDoc(record.__doc__)  # type: ignore[assignment]
    return record


def field_docs(record: type) -> dict[str, str]:
    """Return the text of every field that has one; nothing where the source is not at hand."""
    import ast  # noqa: PLC0415 - only help() needs them
    import inspect  # noqa: PLC0415

    try:
        module = ast.parse(inspect.getsource(modules[record.__module__]))
    except (OSError, TypeError):
        return {}
    (body,) = (node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == record.__name__)
    return {
        field.target.id: inspect.cleandoc(str(text.value.value))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


class _RecordDoc:
    """The `__doc__` of a record: a plain text from its first reading on."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def __get__(self, _instance: object, record: type) -> str | None:
        record.__doc__ = self._text
        for name, text in field_docs(record).items():
            vars(record)[name].__doc__ = text
        return self._text
