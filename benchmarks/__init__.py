"""What is measured: data sets, base models, scenarios, metrics, the schema of rows, suites."""

from importlib.util import find_spec
from pathlib import Path


def require_own(package: str, importer: str) -> None:
    """Check that a package of this project is the one that Python finds under its name.

    Args:
        package: The package's name.
        importer: The ``__file__`` of the package beside which it must be.

    Raises:
        ImportError: If Python finds another package of this name first, with both paths, or none.
    """
    ours = Path(importer).resolve().parents[1] / package
    spec = find_spec(package)
    found = [str(Path(path).resolve()) for path in (spec.submodule_search_locations or [] if spec else [])]
    if str(ours) not in found:
        stranger = next(iter(found), spec.origin if spec else None)
        raise ImportError(
            f"Splitbench needs its own package {package!r} from {ours}, but Python finds "
            f"{f'another one first, {stranger}' if stranger else 'none'}: rename that one, or run from another folder."
        )


require_own("splitters", __file__)
