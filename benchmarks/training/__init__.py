"""Training of base models, weak models and last layers."""
