"""The splitting methods: their protocol, the baselines, GradSplitter and CNNSplitter."""
