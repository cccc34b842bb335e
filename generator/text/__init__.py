"""Text and objects: YAML and JSON in with every mistake placed, the same bytes out; and walking what was read."""
