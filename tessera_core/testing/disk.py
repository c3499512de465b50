"""A disk that is full, without filling one."""

import subprocess
import sys

PRELUDE = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
"""
TIMEOUT_S = 120


def run_with_full_disk(
    script: str, *arguments: str, max_file_size: int
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a child process whose files cannot grow beyond a size.

    The kernel refuses the write that crosses the limit with an error of its own (EFBIG), and
    Python ignores the signal that comes with it, so the code meets what it meets on a full disk.

    Args:
        script: Code to run.
        arguments: ``sys.argv[1:]`` of that code.
        max_file_size: Bytes.
    """
    return subprocess.run(
        # -B: no bytecode files, which the limit would cut off too
        [sys.executable, "-B", "-c", PRELUDE + script, str(max_file_size), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
