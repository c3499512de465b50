"""Processing baselines of Sentinel-2, which products and catalogues write differently."""

import re
from typing import Final

FORM: Final = re.compile(r"[Nn]?(\d{2})\.?(\d{2})")


def plain_baseline(name: str) -> str:
    """Return a baseline as catalogues write it; any other name as it is.

    >>> plain_baseline("N0400"), plain_baseline("04.00"), plain_baseline("33UXP")
    ('04.00', '04.00', '33UXP')
    """
    found = FORM.fullmatch(name)
    return f"{found[1]}.{found[2]}" if found else name
