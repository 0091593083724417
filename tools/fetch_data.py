"""Bring the data sets of the course to this machine before the notebooks ask for them one by one.

What cannot be had stops nothing here: the chapters that need it say so.
"""
from lesson8.fetch import SETS, FetchError, fetch


def main():
    for name in SETS:
        if name == 'mnist_5k': continue  # stands in for mnist only where that cannot be had
        try: folder = fetch(name)
        except FetchError as e: print(f'data  {name:<12} not here: {e}', flush=True)
        else: print(f'data  {name:<12} in {folder}', flush=True)


if __name__ == '__main__': main()
