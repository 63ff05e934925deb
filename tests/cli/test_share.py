"""`push` and `pull`: to a real registry and back, and one line where there is none."""

from __future__ import annotations

import pytest
from ommx.artifact import remove_image
from ommx.experiment import Experiment

from ommx_prefect._registry.names import find
from tests.support.nights import log_run, record_failed


def seal(name, value):
    experiment = Experiment(name)
    log_run(experiment, x=value)
    experiment.commit()
    return find(name)


def test_a_night_is_pushed_with_tags_and_pulled_again(registry, command):
    name = f"{registry.host}/shared/night:one"
    digest = seal(name, 1)
    answer = command("push", name, "--tag", "latest", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["digest"] == digest
    remove_image(name)
    latest = f"{registry.host}/shared/night:latest"
    for image in (name, latest):
        pulled = command("pull", image, "--json")
        assert pulled.json == {"image": image, "digest": digest, "before": None}
        assert find(image) == digest
    assert command("show", latest, "--json").json["digest"] == digest


def test_a_tag_that_moved_is_moved_here_and_said(registry, command):
    name = f"{registry.host}/shared/moved:latest"
    old = seal(name, 1)
    command("push", name)
    other = f"{registry.host}/shared/moved:two"
    new = seal(other, 2)
    assert command("push", other, "--to", name).code == 0
    answer = command("pull", name)
    assert answer.code == 0
    assert f"it was {old}" in answer.out
    assert find(name) == new


def test_a_failed_night_goes_to_a_tag_that_says_so(registry, command):
    name = f"{registry.host}/shared/failed:one"
    with pytest.raises(ValueError, match="fell"):
        record_failed(name)
    assert command("push", name, "--json").json["image"] == f"{name}-failed"
    assert command("pull", f"{name}-failed").code == 0


def test_what_the_registry_does_not_have_is_one_line(registry, command):
    answer = command("pull", f"{registry.host}/shared/nothing:one")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1


def test_no_network_is_one_line(nights, command, brief_waits):
    nowhere = "127.0.0.1:9/a/b:c"
    for arguments in (["pull", nowhere], ["push", nights.first, "--to", nowhere]):
        answer = command(*arguments)
        assert (answer.code, len(answer.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["--to", "127.0.0.1:9/Upper/Case:one"], "lower case"),
        (["--tag", "two words"], "'two words' is no tag"),
        (["--to", "night:one"], "makes it docker.io/library/night:one"),
    ],
)
def test_a_wrong_target_is_refused_in_its_own_words(nights, command, told, says):
    answer = command("push", nights.first, *told)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert says in answer.err
    assert "experiment=" not in answer.err


def test_a_name_of_this_machine_alone_is_refused_before_anything_is_asked(registry, command):
    name = "ommx.local/shared/night:one"
    digest = seal(name, 3)
    for verb in ("push", "pull"):
        answer = command(verb, name)
        assert answer.code == 2
        (line,) = answer.err.splitlines()
        assert "ommx.local is this machine's Local Registry" in line
        assert "--to registry/repository:tag" in line
    to = f"{registry.host}/shared/given:one"
    assert command("push", name, "--to", to, "--json").json["digest"] == digest


def test_what_pull_cannot_take_is_said_in_its_own_words(command):
    flow_run_id = "7c06b04c-505b-4939-a646-e6a46418d65c"
    assert "says no registry" in command("pull", flow_run_id).err
    assert "makes it docker.io/library/night:latest" in command("pull", "night:latest").err
    said = command("pull", "Bad Name").err
    assert "'Bad Name' is no image name" in said
    assert "experiment=" not in said
