"""The Prefect block with the address and the credentials of a registry for experiments."""

from __future__ import annotations

import re

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator

from ommx_prefect._oci.names import is_registry, is_repository

__all__ = ["OMMXRegistry"]

# The picture that Prefect's blocks for container registries have.
_LOGO = (
    "https://cdn.sanity.io/images/3ugk85nk/production/"
    "14a315b79990200db7341e42553e23650b34bb96-250x250.png"
)
# Such as s3-bucket/shards or oci://ghcr.io/acme/shards; checked when used.
_STAGE = re.compile(r"local|[a-z][a-z0-9+.-]*(/|://)\S+")


class OMMXRegistry(Block):
    """An OCI registry for OMMX Experiments, and how flows use it.

    Example:
        Save one, and name it in a flow as `flow(registry="ommx-registry/prod")`:

        ```python
        from ommx_prefect.blocks import OMMXRegistry

        ommx_registry = OMMXRegistry.load("BLOCK_NAME")
        print(ommx_registry.image_name("nightly"))
        ```
    """

    _block_type_name = "OMMX Registry"
    _block_type_slug = "ommx-registry"
    _description = "Where OMMX Experiments of flow runs are named, staged and pushed."
    _documentation_url = HttpUrl("https://github.com/Jij-Inc/ommx")
    _logo_url = HttpUrl(_LOGO)

    registry: str = Field(
        default=..., description="The registry, as host or host:port.", examples=["ghcr.io"]
    )
    repository: str = Field(
        default="",
        description="The repository, or the path under which those of flows are.",
        examples=["acme/nights"],
    )
    username: str = Field(
        default="",
        description="The user to log in as; empty for what the machine itself knows.",
    )
    password: SecretStr | None = Field(
        default=None, description="The password or token of that user."
    )
    stage: str = Field(
        default="",
        description="Where shards wait for flows that name no stage; empty for the setting.",
        examples=["s3-bucket/shards"],
    )
    push: bool = Field(
        default=True,
        description="Whether experiments are pushed, where a flow does not say push itself.",
    )
    retention: int | None = Field(
        default=None,
        ge=1,
        description="How many finished nights `ommx-prefect prune --registry` keeps of each "
        "repository; empty to keep them all.",
    )

    @field_validator("registry")
    @classmethod
    def _check_registry(cls, value: str) -> str:
        if not is_registry(value):
            raise ValueError(f"{value!r} is no registry; write host or host:port, such as ghcr.io")
        return value

    @field_validator("repository")
    @classmethod
    def _check_repository(cls, value: str) -> str:
        if value and not is_repository(value):
            raise ValueError(f"{value!r} is no repository: small letters and digits, such as a/b")
        return value

    @field_validator("stage")
    @classmethod
    def _check_stage(cls, value: str) -> str:
        if value and not _STAGE.fullmatch(value):
            raise ValueError(f"{value!r} is no stage, such as s3-bucket/shards")
        return value

    @model_validator(mode="after")
    def _check_credentials(self) -> OMMXRegistry:
        if bool(self.username) != bool(self.password and self.password.get_secret_value()):
            raise ValueError("username and password go together: give both, or neither")
        return self

    def image_name(self, name: str | None = None) -> str:
        """Return the image name, or template of one, that a name of a flow means here.

        Args:
            name: What the flow calls its experiment. With a registry of its own it stays as it
                is; `:tag` is a tag of the repository; another is a path below it; None is the
                repository itself.

        Raises:
            ValueError: It means no repository, since the block names none.
        """
        if name and is_registry(name.partition("/")[0]) and "/" in name:
            return name
        tag = "" if name is None or not name.startswith(":") else name
        path = "" if name is None or tag else name
        parts = [part for part in (self.repository, path) if part]
        if not parts:
            raise ValueError("the block names no repository, and the flow no experiment")
        return "/".join((self.registry, *parts)) + tag
