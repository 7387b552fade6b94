"""One exit code an error class, as the command line documents them."""

from __future__ import annotations

import pytest

from fcn_edge import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.CheckFailed, 1),
        (errors.BadInput, 2),
        (errors.BackendMissing, 3),
        (errors.SourceLost, 4),
        (errors.Undecidable, 5),
    ],
)
def test_each_error_has_its_exit_code(kind, code):
    assert issubclass(kind, errors.FcnEdgeError)
    assert kind("what was found").exit_code == code


def test_message_is_kept_as_it_was_written():
    assert str(errors.BadInput("height 500 is not a multiple of 32")) == "height 500 is not a multiple of 32"
