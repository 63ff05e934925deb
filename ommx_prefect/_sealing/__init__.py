"""How the shards of a flow run become one verified experiment."""
