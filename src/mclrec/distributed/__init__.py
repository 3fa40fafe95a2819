"""Distributed training: the process group, its collectives, and item tables sharded by rows."""
