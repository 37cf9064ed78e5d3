"""`python -m se_probe`: the command line, as `torchrun -m se_probe` needs it."""

from se_probe.cli import main

if __name__ == "__main__":
    main()
