"""Matrices as heat maps: kernels by layer, overlap of modules, confusion of classes."""
