"""Manifests and documents that two readers read differently are refused by one name."""

from __future__ import annotations

import json
import zlib

import msgpack
import pytest

from ommx_prefect import exceptions
from ommx_prefect._format.decode import decode, manifest_of
from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import Documents
from ommx_prefect._shards.schema import fields_of
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.oci_groups import open_group
from ommx_prefect._stages.oci_manifests import (
    GROUP_ANNOTATION,
    GROUP_TYPE,
    check_layers,
    document_of,
    inline_manifest,
    record_manifest,
    shard_manifest,
)
from ommx_prefect.testing._scene import attempt_of, documents_of, new_id
from tests.security.scene import layer_of, one_run

OUTSIDE = "sha256:../../../../../../etc/hostname"


def test_a_second_key_in_other_letters_fools_no_registry_and_not_us():
    """Go takes `Layers` for `layers`, and the last one counts: it checks none of the first."""
    flow_run_id = new_id()
    shard = Shard(attempt_of(flow_run_id), "finished", documents=documents_of([flow_run_id]))
    name = f"{flow_run_id}/shards/{shard.attempt.key}"
    manifest = shard_manifest(name, shard, shard.to_bytes())
    fooled = json.loads(manifest)
    fooled["layers"][0]["digest"] = OUTSIDE
    for second in ("Layers", "LAYERS"):
        data = json.dumps({**fooled, second: json.loads(manifest)["layers"]}).encode()
        for use in (lambda d=data: document_of(name, d), lambda d=data: check_layers(d, shard)):
            with pytest.raises(exceptions.DocumentError, match=second):
                use()
    with pytest.raises(exceptions.DocumentError, match="no digest"):
        check_layers(json.dumps(fooled).encode(), shard)


def test_a_key_that_stands_twice_is_refused():
    twice = b'{"format": 1, "flow": "a", "flow": "b"}'
    with pytest.raises(exceptions.DocumentError, match="'flow' stands twice"):
        fields_of(twice, 1)
    with pytest.raises(exceptions.DocumentError, match="'layers' stands twice"):
        manifest_of(b'{"layers": [], "layers": []}')


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 100_000, b"\xff", b"nul", b""])
def test_what_is_no_json_is_one_clear_error(data):
    for parse in (lambda: fields_of(data, 1), lambda: manifest_of(data)):
        with pytest.raises(exceptions.DocumentError):
            parse()


def test_an_experiment_with_a_path_as_digest_is_refused():
    documents = encode(one_run(layer_of(OUTSIDE)))
    with pytest.raises(exceptions.DocumentError, match="no digest"):
        decode(documents)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["layers"][0].update(size=-1),
        lambda m: m["layers"][0].update(size=True),
        lambda m: m["layers"][0].update(size="7"),
        lambda m: m["layers"][0].update(mediaType=None),
        lambda m: m["layers"][0].update(annotations={"a": 1}),
        lambda m: m["layers"][0].update(digest=[]),
        lambda m: m.update(layers={}),
        lambda m: m.update(layers=[1]),
        lambda m: m.update(config=None),
        lambda m: m.update(annotations={"a": []}),
        lambda m: m.update(schemaVersion="2"),
    ],
)
def test_a_manifest_of_another_shape_is_one_clear_error(change):
    documents = encode(one_run(layer_of(f"sha256:{'0' * 64}")))
    manifest = json.loads(documents.manifest)
    change(manifest)
    changed = Documents(json.dumps(manifest).encode(), documents.config, documents.parameters)
    with pytest.raises(exceptions.DocumentError):
        decode(changed)


def test_a_record_in_the_place_of_another_kind_is_damage_and_an_unknown_kind_is_none():
    """Only what a later release may have written waits for an upgrade."""
    name = f"{new_id()}/groups/0"
    record = record_manifest(name, b"{}")
    with pytest.raises(exceptions.DocumentError, match=r"and not .*records\.v1") as caught:
        open_group(name, "", record)
    assert not isinstance(caught.value, exceptions.UnknownFormatError)
    later = record.replace(b"prefect.record.v1", b"prefect.bundle.v1")
    with pytest.raises(exceptions.UnknownFormatError, match="upgrade ommx_prefect"):
        document_of(name, later)
    foreign = record.replace(b"vnd.ommx-prefect.record.v1", b"vnd.example.thing.v1")
    with pytest.raises(exceptions.DocumentError, match="thing") as caught:
        document_of(name, foreign)
    assert not isinstance(caught.value, exceptions.UnknownFormatError)


@pytest.mark.parametrize("key", [b"", b"x", b"starts/x"])
def test_a_group_whose_names_are_no_texts_is_refused(key):
    """MessagePack has keys of bytes, too."""
    name = f"{new_id()}/groups/0"
    packed = zlib.compress(msgpack.packb({"format": 1, "records": {key: b""}}))
    with pytest.raises(exceptions.DocumentError, match="holds more than records"):
        open_group(name, "", inline_manifest(name, GROUP_TYPE, GROUP_ANNOTATION, packed))
