"""What importing costs, in fresh processes: bare Python, lesson8, torch and lesson8.embeddings in turn, again
and again.

    python bench/import_time.py [--repeats 15]

Wall time suffers from whatever else the machine does, so CPU time (user + system) stands beside it. A ratio
is taken within each round, between neighbours in time.
"""
import argparse, resource, subprocess, sys, time

from _record import row, save

CASES = dict(bare='pass', lesson8='import lesson8', torch='import torch',
             embeddings='import lesson8.embeddings')


def measure(code):
    "(wall, CPU) seconds of a fresh Python that runs `code`."
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, '-c', code], check=True)
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--repeats', type=int, default=15)
    n = p.parse_args().repeats
    for code in CASES.values(): measure(code)  # compiles what is not compiled yet and warms the disk cache
    order, runs = list(CASES), {c: [] for c in CASES}
    for i in range(n):
        for c in order if i % 2 == 0 else order[::-1]: runs[c].append(measure(CASES[c]))
    wall, cpu = ({c: [r[k] for r in runs[c]] for c in CASES} for k in (0, 1))
    def over(a, b, t): return [x - y for x, y in zip(t[a], t[b])]
    def ratio(a, b, t): return [x / y for x, y in zip(t[a], t[b])]
    save('import', [
        row('collab.import_ratio', ratio('embeddings', 'torch', wall), 'ratio'),
        row('collab.import_ratio_cpu', ratio('embeddings', 'torch', cpu), 'ratio'),
        row('import.lesson8_over_bare', [1000 * s for s in over('lesson8', 'bare', wall)], 'ms'),
        row('import.lesson8_over_bare_cpu', [1000 * s for s in over('lesson8', 'bare', cpu)], 'ms'),
        *[row(f'import.{c}_seconds', wall[c], 's') for c in CASES],
        *[row(f'import.{c}_cpu_seconds', cpu[c], 's') for c in CASES]])
    loaded = subprocess.run([sys.executable, '-c', 'import lesson8, sys; print("torch" in sys.modules)'],
                            capture_output=True, text=True, check=True)
    print('import lesson8 loads torch:', loaded.stdout.strip())


if __name__ == '__main__': main()
