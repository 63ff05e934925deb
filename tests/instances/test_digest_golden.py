"""Digests are those of release 0.1, which wrote content with `json.dumps`: caches stay valid."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from ommx import (
    DecisionVariable,
    Function,
    IndicatorConstraint,
    Instance,
    Linear,
    NamedFunction,
    ParametricInstance,
    Sense,
)

from ommx_prefect.instances import _content, _digest
from ommx_prefect.instances._digest import instance_digest
from tests.instances.test_digest import CHANGED, model

Build = Callable[[], Instance | ParametricInstance]


def drawn() -> Instance:
    """500 variables, 250 rows of ten entries, a few quadratic ones, ids in no order."""
    dice = random.Random(5)
    x = [DecisionVariable.continuous(7 * i + 1, lower=-i, upper=i / 3 + 1) for i in range(500)]
    rows = {
        99 - j: Linear({v.id: dice.uniform(-9, 9) for v in dice.sample(x, 10)}, dice.uniform(-9, 9))
        <= 0
        for j in range(50)
    }
    rows[1000] = Function(x[0] * x[3] - 1e-300 * x[2] * x[2] + x[1] - 1e300) == 0
    rows[1001] = Function(2.0) >= 0
    return Instance.from_components(
        decision_variables=dice.sample(x, 500),
        objective=sum(dice.uniform(-1, 1) * a * b for a, b in zip(x, x[9:], strict=False)),
        constraints=rows,
        sense=Sense.Minimize,
    )


def in_many_scripts() -> Instance:
    x = DecisionVariable.binary(0, name='x "é"\n', parameters={"b": "ü", "a": "\\"})
    y = DecisionVariable.continuous(3, name="漢字", description="\u2028")
    function = NamedFunction(id=4, function=x * x + y, name="ƒ", subscripts=[2, 1])
    instance = Instance.from_components(
        decision_variables=[y, x],
        objective=0,
        constraints={2: x + y <= 1},
        named_functions=[function],
        sense=Sense.Minimize,
    )
    instance.constraints[2].set_name("capacité")
    instance.relax_constraint(2, "zu lang", why="ß", also="")
    return instance


def with_a_removed_indicator() -> Instance:
    instance = model()
    instance.add_indicator_constraint(
        IndicatorConstraint(
            indicator_variable=DecisionVariable.binary(0),
            function=DecisionVariable.binary(1) - 1,
            equality=(DecisionVariable.binary(1) == 0).equality,
        )
    )
    instance.relax_indicator_constraint(1, "slow")
    return instance


def instances() -> dict[str, Build]:
    return {
        "unchanged": model,
        **CHANGED,
        "empty": Instance.empty,
        "drawn": drawn,
        "in many scripts": in_many_scripts,
        "with a removed indicator": with_a_removed_indicator,
    }


# Half of each digest.
GOLDEN = {
    "unchanged": "e4eb1389a2ae89b1d9d4aa0540c93912",
    "sense": "855d3d8756fe0f95828e1801d558c771",
    "coefficient": "f4a952a5b3364b6e7b36a11daf4ed555",
    "quadratic coefficient": "b6e27e48ee4ce9f697b695570b6da13d",
    "objective constant": "03cc7363942beb1229ca5979b47fa101",
    "no polynomial": "02f81d8a10deb7f688ec630db1a9f072",
    "another that is none": "b733cb950357b576d1b3c7966e647e66",
    "bound": "a322729b0361b1da0b2f7ed5a3ffe3d7",
    "kind": "aa57ae36bb1ac3333abed6a69007672e",
    "unused variable": "5db2a50c9adec16564772e99b261e361",
    "variable label": "f8fda424a41b539a1b57db9808f1e34f",
    "constraint id": "ddf283f29c049a97138e26a8fdef6315",
    "equality": "501c2c75645975cf422826db1f7218db",
    "right-hand side": "b04e542551be5e4c18cda50138f61374",
    "constraint label": "401b2fd73e126964ab1f07bec4b6a8bb",
    "removed": "2d8b0c894c98a6a11eb24de18828046e",
    "removed for another reason": "a8d799bb0f51617df1b5cad3217e90bb",
    "fixed value": "2002d4f33e7bd544e7415e0c5e5e4ec0",
    "indicator": "e69539fd21ebfac61965bf4e056f03ae",
    "one-hot": "b4045ad57ba11e24b8b2dc47f089dae0",
    "sos1": "e6cbeae54ccb529f2ee4bce794be9d2f",
    "named function": "f73518b74b8f2035e7ee76071d20e21b",
    "substitution": "5f06cb34476fce6dad146d1163ca1cd8",
    "another substitution": "88dc91a420b77ceeff5b6c5aa641ef3b",
    "encoding": "40688ec8b943e4347179a2c6b24c6888",
    "parametric": "aeea10e06cdf01a9d4032e6b9ce0fc98",
    "weight of a parameter": "6e98839486a1976208c3072ae1b45445",
    "label of a parameter": "4581046154c6f9472c593bb9bcef92ed",
    "empty": "4493655f3713d560537f1f128d1c6a57",
    "drawn": "397109679ceea662ec3a674558b949a8",
    "in many scripts": "ed05aaea926370c3e52b12a89d3b53b1",
    "with a removed indicator": "d28997a4c66e3e1d8eb818557c637e29",
}


@pytest.mark.parametrize("name", instances())
def test_the_digest_is_that_of_the_first_release(name):
    assert instance_digest(instances()[name]())[:39] == f"sha256:{GOLDEN[name]}"


def test_content_is_read_once_for_the_same_bytes_and_again_for_others(monkeypatch):
    read = []

    def counted(instance, data):
        read.append(len(data))
        return content_of(instance, data)

    content_of = _content.content_of
    monkeypatch.setattr(_digest, "content_of", counted)
    instance = drawn()
    instance.title = "not seen before"
    digests = {instance_digest(instance) for _ in range(3)}
    copied = Instance.from_v2_bytes(instance.to_v2_bytes())
    assert (len(digests), len(read)) == (1, 1)
    instance.add_decision_variable(DecisionVariable.binary(9_999))
    assert instance_digest(instance) not in digests
    assert {instance_digest(copied)} == digests


def test_few_digests_are_kept(monkeypatch):
    monkeypatch.setattr(_digest, "MOST_KEPT", 3)
    for number in range(5):
        instance_digest(model(objective=float(number) + 0.125))
    assert len(_digest._kept) == 3
