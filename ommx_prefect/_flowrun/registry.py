"""Complete the settings of a flow from its OMMX Registry block and from Prefect's settings.

The flow's own words come first, then the block's, then those of Prefect's settings.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from prefect.blocks.core import Block

from ommx_prefect._flowrun.image_name import NameSource
from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._stages.address import OCI_SCHEME, checked_stage, scheme_of, split_stage
from ommx_prefect._stages.block_store import settled
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.blocks import OMMXRegistry
from ommx_prefect.exceptions import InvalidImageNameError


def with_registry(settings: ExperimentSettings) -> ExperimentSettings:
    """Fill in the settings that a flow leaves open, from its block and Prefect's settings.

    Raises:
        InvalidImageNameError: The block cannot be loaded, or names no repository.
    """
    if not (name := _block_of(settings)):
        return replace(settings, push=_is_pushed(settings, OmmxSettings().push))
    block = load_registry(name)
    named = replace(settings, registry=name, experiment=_in_registry(settings.experiment, block))
    return replace(
        named, push=_is_pushed(named, block.push), stage=settings.stage or _stage_in(block)
    )


def stage_wanted(settings: ExperimentSettings | None) -> str | None:
    """Return the stage that a flow asks for, itself or by its block; None for the setting."""
    if settings is None or settings.stage is not None:
        return settings.stage if settings else None
    return _stage_of(name) if (name := _block_of(settings)) else None


def load_registry(name: str) -> OMMXRegistry:
    """Load an OMMX Registry block by `ommx-registry/NAME`.

    Raises:
        InvalidImageNameError: There is none, or it is a block of another type.
    """
    try:
        block = settled(Block.load(name))
    except Exception as error:
        reason = f"the block cannot be loaded ({describe_error(error).rstrip('.')})"
        advice = "save it first: `prefect block register -m ommx_prefect.blocks`, then the UI"
        raise InvalidImageNameError(repr(name), f"{reason}; {advice}", "registry") from None
    if not isinstance(block, OMMXRegistry):
        kind = type(block).__name__
        reason = f"it is a {kind}, and no OMMX Registry block"
        raise InvalidImageNameError(repr(name), reason, "registry")
    return block


def credentials_for(name: str, registry: str) -> Credentials | None:
    """Return the credentials of a block for a registry; None where it is another registry.

    Raises:
        InvalidImageNameError: The block cannot be loaded.
    """
    block = load_registry(name) if name else None
    if block is None or block.password is None or block.registry != registry:
        return None
    return Credentials(block.username, block.password)


def _block_of(settings: ExperimentSettings) -> str:
    return OmmxSettings().registry if settings.registry is None else settings.registry


def _is_pushed(settings: ExperimentSettings, otherwise: bool) -> bool:
    """Tell whether an experiment is pushed; one without a name has no place to be pushed to."""
    if settings.push and settings.experiment is None:
        reason = "it needs a name that says where to push to, and the block names no repository"
        raise InvalidImageNameError("True", reason, "push")
    return bool(otherwise if settings.push is None else settings.push) and (
        settings.experiment is not None
    )


def _in_registry(experiment: NameSource, block: OMMXRegistry) -> NameSource:
    """Return an image name in the registry of a block."""
    if experiment is None and not block.repository:
        return None  # an anonymous experiment, as without the block
    if not callable(experiment):
        return _placed_name(experiment, block)

    def called(flow_run: Any) -> Any:  # what is no text is refused where it is called
        given = experiment(flow_run)
        return _placed_name(given, block) if isinstance(given, str) else given

    return called


def _placed_name(name: str | None, block: OMMXRegistry) -> str:
    try:
        return block.image_name(name)
    except ValueError as error:
        raise InvalidImageNameError(repr(name), str(error)) from error


@functools.lru_cache(maxsize=64)
def _stage_of(name: str) -> str | None:
    return _stage_in(load_registry(name))


def _stage_in(block: OMMXRegistry) -> str | None:
    """Return the stage of a block; in its own registry with its credentials."""
    stage = checked_stage(block.stage or None)
    if stage is None or scheme_of(stage) != OCI_SCHEME or block.password is None:
        return stage
    where = split_stage(stage)
    is_own = where.registry == block.registry and not where.credentials
    name = f"{block.get_block_type_slug()}/{block._block_document_name}"
    return f"{stage}?credentials={name}" if is_own else stage
