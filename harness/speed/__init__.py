"""How much the harness itself costs: ``python -m harness.speed``; what methods cost is in ``benchmarks.speed``."""
