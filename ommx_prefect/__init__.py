"""Every run of a Prefect flow becomes a sealed OMMX Experiment."""
