"""``python -m milabench``."""

from milabench.cli import main

main()
