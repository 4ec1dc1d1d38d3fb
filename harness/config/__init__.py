"""From the text of a suite to its cells: reading, overrides, plug-ins, trust."""
