"""`python -m nurture` is the `nurture` command."""

from nurture.cli.main import main

if __name__ == "__main__":
    main()
