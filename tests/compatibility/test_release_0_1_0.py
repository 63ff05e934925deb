"""What release 0.1.0 has left on disk, in storage and in pickles is sealed and loaded as ever.

The fixtures were made by that release, and `expected.json` says what it makes of them itself; see
their README. Each test works on a copy, in processes of its own: OMMX has one Local Registry for
each process.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "release_0_1_0"
sys.path.insert(0, str(FIXTURES))

import read_back  # noqa: E402

EXPECTED = json.loads((FIXTURES / "expected.json").read_text())
OWNERS = EXPECTED["owners"]
SEALS = EXPECTED["seals"]
# What is in the manifest of an experiment, and is not the same with other versions.
OF_VERSIONS = ("manifest_digest", "place")
# What this release says in the ledger and 0.1.0 did not, and what the ledger's bytes are part of.
NEW_WARNING = "has values of several types"
OF_LEDGER = ("warnings", "attachments", "identity", "layers", "annotations")
ONE_PYTHON = "py311"
REPOSITORY = "acme/shards"
REGISTRY = "registry.example:5000"


def program(name: str, *arguments: object, registry: Path, **options: Any) -> Any:
    """Run a program of the fixtures; return its JSON."""
    done = subprocess.run(
        [sys.executable, str(FIXTURES / name), *map(str, arguments)],
        env={**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(registry)},
        capture_output=True,
        text=True,
        timeout=240,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # HiGHS 1.16 says hello first


def answered(registry: Path, **request: Any) -> dict[str, Any]:
    """Let `ommx-prefect` work in a Local Registry, and read experiments back with plain `ommx`."""
    answer = program("read_back.py", registry=registry, input=json.dumps(request))
    for output in answer["outputs"]:
        assert output["code"] in (0, request.get("code", 0)), output["stderr"]
    return answer


def copied(what: str, tmp_path: Path) -> Path:
    target = tmp_path / what.replace("/", "-")
    shutil.copytree(FIXTURES / what, target)
    return target


def same_versions() -> bool:
    names = ("ommx", "prefect")
    found = {name: importlib.metadata.version(name) for name in names}
    found["python"] = platform.python_version()
    return all(EXPECTED["versions"][name] == version for name, version in found.items())


def assert_as_ever(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Assert that an experiment is what release 0.1.0 makes of the same records, to the byte.

    Where the ledger says what 0.1.0 did not say, all but the ledger is the same to the byte.
    """
    new = [said for said in found["warnings"] if NEW_WARNING in said]
    other = OF_LEDGER if new else ()
    names = [name for name in expected if name not in (*OF_VERSIONS, *other)]
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}
    assert [said for said in found["warnings"] if said not in new] == expected["warnings"]
    assert found["attachments"].keys() == expected["attachments"].keys()
    layers = zip(found["layers"], expected["layers"], strict=True)
    assert sum(one != another for one, another in layers) == bool(new)
    if same_versions() and not new:
        assert found["manifest_digest"] == expected["manifest_digest"]


# ---------------------------------------------------------------- the Local Registry


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `ommx-prefect seal` says of all that waits, and what plain `ommx` reads then."""
    registry = copied("local", tmp_path_factory.mktemp("sealed"))
    commands = [["seal", OWNERS[name], *options, "--json"] for name, options in SEALS.items()]
    answer = answered(registry, commands=commands, describe=[OWNERS[name] for name in SEALS])
    answers = [json.loads(output["stdout"]) for output in answer["outputs"]]
    return {
        name: {"answer": said, **answer["described"][OWNERS[name]]}
        for name, said in zip(SEALS, answers, strict=True)
    }


@pytest.mark.server
@pytest.mark.parametrize("name", SEALS)
def test_what_waits_is_sealed_to_the_same_bytes(sealed, name):
    assert_as_ever(sealed[name], EXPECTED["sealed"][name])
    said = sealed[name]["answer"]
    assert said["manifest_digest"] == sealed[name]["manifest_digest"]
    assert said["status"] == EXPECTED["sealed"][name]["status"]
    assert sum(said["counts"].values()) == len(EXPECTED["sealed"][name]["runs"])


def test_the_documents_of_the_experiments_that_0_1_0_sealed_are_kept():
    for name, facts in EXPECTED["sealed"].items():
        manifest = (FIXTURES / "sealed" / name / "manifest.json").read_bytes()
        assert read_back.identity(manifest) == facts["identity"]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What plain `ommx` reads of what 0.1.0 sealed, with no seal in between."""
    registry = copied("local", tmp_path_factory.mktemp("standing"))
    ids = [OWNERS[name] for name in EXPECTED["standing"]]
    return answered(registry, describe=ids)["described"]


@pytest.mark.server
@pytest.mark.parametrize("name", EXPECTED["standing"])
def test_what_was_sealed_is_loaded(standing, name):
    found = standing[OWNERS[name]]
    assert found == EXPECTED["standing"][name]


@pytest.mark.server
def test_recover_finds_what_waits_and_seals_what_it_may(tmp_path):
    registry = copied("local", tmp_path)
    read_back.moved_here(registry, OWNERS["killed"])
    commands = [
        ["status", "--json", "--min-age", "0"],
        ["recover", "--json", "--min-age", "0"],
    ]
    states = {OWNERS["killed"]: "RUNNING"}
    answer = answered(registry, commands=commands, states=states, code=1)
    names = {owner: name for name, owner in OWNERS.items()}
    before, after = (
        {names[row["owner"]]: row for row in json.loads(output["stdout"])}
        for output in answer["outputs"]
    )
    expected = EXPECTED["recovered"]
    shown = {
        name: {key: row[key] for key in ("done", "ended", "open")} for name, row in after.items()
    }
    assert shown == expected
    would = {"sealed": "would seal"}
    assert {name: row["done"] for name, row in before.items()} == {
        name: would.get(row["done"], row["done"]) for name, row in expected.items()
    }
    assert "--interrupted" in after["failed_and_run_again"]["why"]


# ---------------------------------------------------------------- stages that hosts share


@pytest.mark.full
def test_records_in_a_storage_block_and_on_two_hosts_are_sealed_to_the_same_bytes(server, tmp_path):
    from prefect.filesystems import LocalFileSystem

    place = copied("block/objects", tmp_path)
    block = f"release-0-1-0-{uuid.uuid4().hex[:8]}"
    LocalFileSystem(basepath=str(place)).save(block)
    worker, host = (copied(f"block/{name}", tmp_path) for name in ("worker", "host"))
    owner = OWNERS["killed_in_block"]
    for path in worker.glob("ommx-prefect/*/outbox.json"):
        path.write_text(json.dumps({"stage": f"local-file-system/{block}"}))
    recover = ["recover", "--json", "--min-age", "0"]
    (output,) = answered(worker, api=server, commands=[recover])["outputs"]
    (row,) = json.loads(output["stdout"])
    assert {key: row[key] for key in ("done", "ended", "open")} == EXPECTED["shared"]["sent"]
    stage = f"local-file-system/{block}"
    seal = ["seal", owner, "--interrupted", "--json", "--stage", stage]
    answer = answered(host, api=server, commands=[seal], describe=[owner])
    assert_as_ever(answer["described"][owner], EXPECTED["shared"]["block"])


def test_records_in_an_oci_registry_are_sealed_to_the_same_bytes(registry, tmp_path):
    repository = f"{uuid.uuid4().hex[:8]}/shards"
    read_back.push_layout(FIXTURES / "oci" / "repository", f"{registry.url}{repository}")
    owner = OWNERS["killed_in_oci"]
    stage = f"oci://{registry.host}/{repository}"
    seal = ["seal", owner, "--interrupted", "--json", "--stage", stage]
    answer = answered(tmp_path / "empty", commands=[seal], describe=[owner])
    assert_as_ever(answer["described"][owner], EXPECTED["shared"]["oci"])


@pytest.mark.full
def test_records_in_an_oci_registry_are_composed_there(registry, tmp_path):
    """The host was told by a hook that the flow run is Completed, and was killed then."""
    replaced = {REGISTRY: registry.host}
    layout = FIXTURES / "oci" / "repository"
    read_back.push_layout(layout, f"{registry.url}{REPOSITORY}", replaced)
    host = copied("oci/host", tmp_path)
    for path in host.rglob("*.json"):
        path.write_text(path.read_text().replace(REGISTRY, registry.host))
    owner = OWNERS["killed_in_oci"]
    answer = answered(host, commands=[["seal", owner, "--json"]])
    said = json.loads(answer["outputs"][0]["stdout"])
    assert said["status"] == "finished"
    assert said["composed_in"] == f"oci://{registry.host}/{REPOSITORY}"
    assert sum(said["counts"].values()) == len(EXPECTED["shared"]["oci"]["runs"])
    code = (
        "import sys; from ommx.experiment import Experiment;"
        "print(len(Experiment.load(sys.argv[1]).runs))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, said["image_name"]],
        env={**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / "elsewhere")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(loaded.stdout) == len(EXPECTED["shared"]["oci"]["runs"])


# ---------------------------------------------------------------- pickles


def is_of_this_python(name: str) -> bool:
    here = f"py{sys.version_info.major}{sys.version_info.minor}"
    return ONE_PYTHON not in name.split(".") or here == ONE_PYTHON


@pytest.fixture(scope="module")
def unpickled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is in all pickles, read in a process that imports nothing of the package by itself."""
    folder = tmp_path_factory.mktemp("pickles")
    for path in (FIXTURES / "pickles").iterdir():
        if is_of_this_python(path.name):
            shutil.copyfile(path, folder / path.name)
    return program("unpickle.py", folder, registry=folder / "registry")["found"]


@pytest.mark.server
@pytest.mark.parametrize("name", EXPECTED["unpickled"])
def test_what_was_pickled_is_unpickled(unpickled, name):
    if not is_of_this_python(name):
        pytest.skip(f"byte code of another Python: {name}")
    assert_includes(unpickled[name], EXPECTED["unpickled"][name])


def assert_includes(found: Any, expected: Any) -> None:
    """Assert that a value is what it was; what has fields may have more of them now."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_includes(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_includes(one, other)
    else:
        assert found == expected


def test_every_name_that_a_pickle_refers_to_is_importable():
    names = sorted({name for found in EXPECTED["references"].values() for name in found})
    missing = []
    for name in names:
        module, _, attribute = name.partition(" ")
        try:
            value = importlib.import_module(module)
            for part in attribute.split("."):
                value = getattr(value, part)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert missing == []


@pytest.mark.skipif(not is_of_this_python(ONE_PYTHON), reason="byte code of another Python")
@pytest.mark.usefixtures("server")
def test_flows_that_were_pickled_run_and_are_sealed(tmp_path):
    bundles = sorted(path.name for path in (FIXTURES / "pickles").glob("bundle.*.json"))
    assert len(bundles) == 2
    folder = tmp_path / "pickles"
    folder.mkdir()
    for name in bundles:
        shutil.copyfile(FIXTURES / "pickles" / name, folder / name)
    ran = program("unpickle.py", folder, *bundles, registry=tmp_path / "registry")["ran"]
    for name in bundles:
        assert ran[name] == {
            "state": "Completed",
            "result": {"x": 3, "label": "plain"},
            "status": "finished",
            "runs": ["finished"] * 3,
            "tasks": ["one_of_all", "solve", "ok"],
        }
