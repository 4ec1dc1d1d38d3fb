"""CNNSplitter's merging, distances and generations against plain Python."""
