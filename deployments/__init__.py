"""The Ray Serve graph: one deployment a file, no mathematics; the only place that imports ray."""
