"""What a test asserts of an error: its kind, and the facts that its message names; never its wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fcn_edge.errors import FcnEdgeError


@contextmanager
def refused(kind: type[FcnEdgeError], *facts: object) -> Iterator[pytest.ExceptionInfo[FcnEdgeError]]:
    """The block ends in an error of exactly this kind whose message names each fact (a path, a name, a number)."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == kind.code
    message = str(caught.value)
    missing = [str(fact) for fact in facts if str(fact) not in message]
    assert not missing, f"{message!r} does not name {', '.join(missing)}"
