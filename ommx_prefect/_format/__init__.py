"""An experiment as bytes: parse, merge, compose and write the documents of OMMX Experiments."""
