"""What a test asserts of a message: the kind of error and the facts that it names, never its wording.

A fact is a path, the name of a file, class, tensor, option or argument, a number with or without its unit, a
shape. Where a message has none, one term of the field ("palette", "softmax") stands for its subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fcn_edge.errors import FcnEdgeError


@contextmanager
def refused(kind: type[FcnEdgeError], *facts: object) -> Iterator[pytest.ExceptionInfo[FcnEdgeError]]:
    """The block ends in an error of this kind, by its code, whose message is one line and names each fact."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == kind.code, f"{caught.value!r} has the code {caught.value.code}"
    assert "\n" not in str(caught.value)
    assert_names(str(caught.value), *facts)


def assert_names(text: str, *facts: object) -> None:
    """`text` names each fact, as a whole word."""
    missing = missing_facts(text, facts)
    assert not missing, f"{text!r} does not name {', '.join(missing)}"


def missing_facts(text: str, facts: tuple[object, ...]) -> list[str]:
    """Those that are not in `text` as whole words: 2 is not in 12, nor "int8" in "test_int8_file"."""
    return [str(fact) for fact in facts if not re.search(whole_words(str(fact)), text, re.IGNORECASE)]


def whole_words(fact: str) -> str:
    """The pattern of `fact` between characters that would continue neither its first nor its last word."""
    before = r"(?<!\w)" if re.match(r"\w", fact) else ""
    after = r"(?!\w)" if re.search(r"\w$", fact) else ""
    return before + re.escape(fact) + after
