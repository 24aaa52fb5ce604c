"""`python -m jaxgen`, and the `jaxgen` command: Ctrl-C is answered while the command line itself is imported, too."""

import sys


def main() -> int:
    """Run the command line; returns its exit code."""
    try:
        from jaxgen.cli.main import main

        return main()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("jaxgen: stopped.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
