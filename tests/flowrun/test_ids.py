"""Ids of flow runs in every usual spelling."""

from __future__ import annotations

from uuid import UUID

import pytest

from ommx_prefect import exceptions, load_experiment, seal
from ommx_prefect._flowrun.ids import parse_flow_run_id

ID = "01973c7e-5b2a-7c3d-9e4f-0123456789ab"


@pytest.mark.parametrize(
    "given",
    [ID, ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}", f" {ID}\n", UUID(ID)],
    ids=["plain", "capitals", "no dashes", "braces", "urn", "blanks", "UUID"],
)
def test_every_usual_spelling_is_the_same_id(given):
    assert parse_flow_run_id(given) == ID


@pytest.mark.parametrize("given", ["", "brave-otter", ID[:-1], "../../etc", None, 7, f"{ID}/x"])
@pytest.mark.parametrize("asked", [seal, load_experiment])
def test_what_is_no_id_is_said_to_be_none(asked, given):
    with pytest.raises(exceptions.InvalidFlowRunIdError, match="is no id of a flow run"):
        asked(given)
