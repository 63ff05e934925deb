"""`python -m ommx_prefect` is the command `ommx-prefect`."""

from ommx_prefect.cli import app

app(prog_name="ommx-prefect")
