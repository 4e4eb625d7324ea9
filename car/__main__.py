"""`python -m car`, which torchrun can start."""

from car.cli.main import main

main()
