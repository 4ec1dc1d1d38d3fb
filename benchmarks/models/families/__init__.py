"""Families of networks, named FAMILY:MEMBER: torchvision, timm, the Hugging Face hub, and Python code."""
