"""Labels are merged as RFC 7396 has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.labels import MAX_LABELS, merge_labels
from certctl.schemas.labels import MOST_LABELS

KEYS = st.sampled_from(["a", "b", "c", "d"])
LABELS = st.dictionaries(KEYS, st.text(max_size=3))
PATCHES = st.none() | st.dictionaries(KEYS, st.none() | st.text(max_size=3))


@given(LABELS, PATCHES)
def test_the_patch_counts_and_all_else_stays(
    labels: dict[str, str], patch: dict[str, str | None] | None
) -> None:
    merged = merge_labels(labels, patch)
    if patch is None:
        assert merged == {}
        return
    for key in labels.keys() | patch.keys():
        expected = patch[key] if key in patch else labels[key]
        assert merged.get(key) == expected
    assert merged.keys() <= labels.keys() | patch.keys()
    assert merge_labels(merged, patch) == merged


def test_there_are_fifty_at_most() -> None:
    assert MAX_LABELS == MOST_LABELS
    full = {str(number): "" for number in range(MAX_LABELS)}
    assert len(merge_labels({}, full)) == MAX_LABELS
    with pytest.raises(InvalidInput) as raised:
        merge_labels(full, {"one-more": ""})
    assert (raised.value.code, raised.value.field) == ("too-many-labels", "labels")
