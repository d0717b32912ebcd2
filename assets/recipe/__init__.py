"""How everything in ``assets/`` was made: ``python -m assets.recipe --help``."""
