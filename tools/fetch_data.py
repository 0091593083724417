"""Bring the data sets of the course to this machine before the notebooks ask for them one by one (and say so
in their outputs).

    python tools/fetch_data.py [--all]     --all: also what only stands in for another set

What cannot be had stops nothing here: the chapters that need it say so.
"""
import sys

from lesson8.download import FetchError
from lesson8.fetch import fetch
from lesson8.registry import SETS


def main():
    for name in SETS:
        # stands in for mnist only where that cannot be had
        if name == 'mnist_5k' and '--all' not in sys.argv: continue
        try: folder = fetch(name)
        except FetchError as e: print(f'data  {name:<12} not here: {e}', flush=True)
        else: print(f'data  {name:<12} in {folder}', flush=True)


if __name__ == '__main__': main()
