"""`python -m ommx_prefect` is the command `ommx-prefect`."""

from ommx_prefect._cli import app

app(prog_name="ommx-prefect")
