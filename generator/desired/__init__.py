"""What should exist: shadows, carriers, the walk between them, and the one function `generate`."""
