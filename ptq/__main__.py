"""``python -m ptq``."""

from ptq.cli import main
from ptq.memory import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    raise SystemExit(main())
