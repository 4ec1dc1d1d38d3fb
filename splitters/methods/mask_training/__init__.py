"""Training of real masks over kernels by gradient descent: the engine that GradSplitter and ScaleSplitter share."""
