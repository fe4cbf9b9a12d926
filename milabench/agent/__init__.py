"""The agent: one process per node, over a pipe, that starts, watches and ends all others."""
