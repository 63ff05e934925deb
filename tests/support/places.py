"""The places in which a stage can be, for the contract suite: folders, a real S3 server, and a
real OCI registry.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from prefect.filesystems import LocalFileSystem, RemoteFileSystem
from pydantic import SecretStr

from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._stages.roots import DIRECTORY, stage_root
from tests.support.registry_server import RegistryServer

SECRET = "s3cr3t-of-the-bucket"
START_SECONDS = 240
# What stays of a sealed flow run on the host that sealed it.
KEPT = {"flow.json", "process.json", "sealed.json", "state.json", "released.json", "inbox.json"}
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Place(Protocol):
    """Where the objects of a stage are, seen from outside this package.

    Attributes:
        stage: What a flow is told.
        experiment: The name that experiments get there, where the stage makes a difference to it.
    """

    stage: str
    experiment: str | None = None

    def objects(self, flow_run_id: str) -> dict[str, bytes]: ...
    def put(self, name: str, data: bytes) -> None: ...
    def delete(self, name: str) -> None: ...
    def go_away(self) -> None: ...
    def come_back(self) -> None: ...


def take_run_from(place: Place, flow_run_id: str) -> dict[str, bytes]:
    """Take the record of a Run out of a stage, as if it had not come yet; return its object."""
    objects = place.objects(flow_run_id)
    name = next(name for name in objects if "/shards/run-" in name)
    place.delete(name)
    place.delete(name.replace("/shards/", "/starts/"))
    return {name: objects[name]}


class Folder(Place):
    """A folder; away while a file stands in its place."""

    def __init__(self, stage: str, folder: Path) -> None:
        self.stage, self.folder = stage, folder

    def objects(self, flow_run_id: str) -> dict[str, bytes]:
        files = (path for path in (self.folder / flow_run_id).rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in files
            if path.name[0] != "."
        }

    def put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink()

    def go_away(self) -> None:
        self.folder.rename(self.folder.with_name("away"))
        self.folder.write_bytes(b"")

    def come_back(self) -> None:
        self.folder.unlink()
        self.folder.with_name("away").rename(self.folder)


class Bucket(Place):
    """A bucket on an S3 server; away while it is deleted."""

    def __init__(self, stage: str, client: Any, bucket: str) -> None:
        self.stage, self.client, self.bucket = stage, client, bucket
        self._kept: dict[str, bytes] = {}
        client.create_bucket(Bucket=bucket)

    def objects(self, flow_run_id: str) -> dict[str, bytes]:
        prefix = f"night/{flow_run_id}/"
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())
        keys = [x["Key"] for x in found]
        return {key.removeprefix("night/"): self._read(key) for key in keys}

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"night/{name}", Body=data)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"night/{name}")

    def go_away(self) -> None:
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        for key in [x["Key"] for x in found]:
            self._kept[key] = self._read(key)
            self.client.delete_object(Bucket=self.bucket, Key=key)
        self.client.delete_bucket(Bucket=self.bucket)

    def come_back(self) -> None:
        self.client.create_bucket(Bucket=self.bucket)
        for key, data in self._kept.items():
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def _read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()


class RegistryPlace(Place):
    """A repository of a registry; away while the registry is stopped."""

    def __init__(self, server: RegistryServer, repository: str, experiment: str | None) -> None:
        self.stage, self.server = f"oci://{server.host}/{repository}", server
        self.url = f"{server.url}{repository}"
        self.experiment = experiment

    def tags(self, prefix: str = "") -> list[str]:
        found = httpx.get(f"{self.url}/tags/list?n=10000", trust_env=False)
        tags = found.json().get("tags") or () if found.status_code == 200 else ()
        return [tag for tag in tags if tag.startswith(prefix)]

    def objects(self, flow_run_id: str) -> dict[str, bytes]:
        return {tag.replace("_", "/"): self.manifest(tag) for tag in self.tags(f"{flow_run_id}_")}

    def manifest(self, tag: str) -> bytes:
        return self._ask("GET", f"manifests/{tag}", headers={"Accept": MANIFEST_TYPE}).content

    def put(self, name: str, data: bytes) -> None:
        headers = {"Content-Type": MANIFEST_TYPE}
        self._ask("PUT", f"manifests/{name.replace('/', '_')}", content=data, headers=headers)

    def delete(self, name: str) -> None:
        digest = hashlib.sha256(self.manifest(name.replace("/", "_"))).hexdigest()
        self._ask("DELETE", f"manifests/sha256:{digest}")

    def go_away(self) -> None:
        self.server.stop()

    def come_back(self) -> None:
        self.server.start()

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = httpx.request(method, f"{self.url}/{path}", trust_env=False, **options)
        return answer.raise_for_status()


def local_place() -> Folder:
    """The Local Registry's own stages."""
    return Folder("local", stage_root())


def folder_place(folder: Path, name: str) -> Folder:
    """A LocalFileSystem block: a disk that hosts share."""
    LocalFileSystem(basepath=str(folder / "shared")).save(name, overwrite=True)
    (folder / "shared").mkdir()
    return Folder(f"local-file-system/{name}", folder / "shared")


def s3_place(url: str, name: str) -> Bucket:
    """An S3Bucket block of prefect-aws."""
    from prefect_aws import AwsClientParameters, AwsCredentials, S3Bucket

    credentials = AwsCredentials(
        aws_access_key_id="testing",
        aws_secret_access_key=SecretStr(SECRET),
        region_name="us-east-1",
        aws_client_parameters=AwsClientParameters(endpoint_url=url),
    )
    block = S3Bucket(bucket_name=name, bucket_folder="night", credentials=credentials)
    block.save(name, overwrite=True)
    return Bucket(f"s3-bucket/{name}", credentials.get_s3_client(), name)


def fsspec_place(url: str, name: str) -> Bucket:
    """A RemoteFileSystem block, with fsspec's S3."""
    client = s3_place(url, f"{name}-client").client
    settings = {"key": "testing", "secret": SECRET, "client_kwargs": {"endpoint_url": url}}
    block = RemoteFileSystem(basepath=f"s3://{name}/night", settings=settings)
    block.save(name, overwrite=True)
    return Bucket(f"remote-file-system/{name}", client, name)


def require(*modules: str) -> None:
    """Skip, visibly, where an extra is not installed; CI installs them all."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing} are not installed, and CI must not skip what needs them")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def start_s3(log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start moto's S3 server on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}"
        time.sleep(0.2)
    pytest.fail(f"the S3 server did not start:\n{log.read_text()}")


def assert_nothing_waits(place: Place, flow_run_id: str, registry: str | None = None) -> None:
    """Assert that a seal has left nothing there, nor in the Local Registries of two hosts."""
    names = {name.split("/", 1)[1] for name in place.objects(flow_run_id)}
    assert names <= KEPT
    assert names == set() or place.stage == "local"
    for root in {str(registry_root()), registry or str(registry_root())}:
        stage = Path(root) / DIRECTORY / flow_run_id
        left = {path.name for path in stage.rglob("*") if path.is_file() and path.name[0] != "."}
        assert left <= KEPT
