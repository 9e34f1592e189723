"""The migrations: runner.py applies them, steps.py has what they are made of, versions/ has one file for each."""
