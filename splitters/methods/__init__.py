"""The splitting methods: their protocol, the baselines, GradSplitter, CNNSplitter and ScaleSplitter."""
