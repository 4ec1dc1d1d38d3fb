"""GradSplitter's phases against plain torch: N masked copies of the network, one after the other."""
