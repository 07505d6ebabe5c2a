"""Errors of verification stop a conversion with one line."""

import pytest

from semicml_tf.conversion.verification import gate
from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError


@pytest.mark.parametrize(
    "codes,named", [(("empty_label", "empty_label"), True), (("empty_label", "label_values"), False)]
)
def test_a_remedy_that_all_errors_share_is_named(codes, named):
    found = [Finding.of(code, "bad", case=f"P{i}", remedy=f"Remedy of {code}") for i, code in enumerate(codes)]
    with pytest.raises(UserError, match="2 errors in 2 cases.*All are in r.json.*--skip_bad_cases") as caught:
        gate.refuse(found, "r.json")
    assert ("Remedy of empty_label. All" in caught.value.line) == named
