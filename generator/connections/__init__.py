"""Connections: how requests get from the cluster to a user's machine. A provider is one function, see `part.py`."""
