"""Fuzzing every decoder with atheris: `./fuzz`, and a fixed budget in ./check. See fuzzing/README.md."""
