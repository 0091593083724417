"""Stored figures still hold: one quick row of each file in bench/results that has errors is measured again.

A script bench/<subject>.py says which of its rows are quick, in `CHEAP = {'row id': function of a seed that
returns the value for that seed}`. The seed is one that was not among the stored ones. Times, speeds and GPU
rows are never measured here: they belong to the machine they were taken on.
"""
import importlib, json, math, sys

import pytest

from conftest import ROOT

ERRORS = {'mse', 'rmse', 'mape', 'accuracy'}


def error_rows(path):
    """The rows of a result file that any machine must come to: errors of three seeds or more, not from a
    machine with a GPU."""
    d = json.loads(path.read_text())
    return {r['id']: r for r in d['results'] if r['unit'] in ERRORS and r['n'] >= 3
            and not d['machine']['gpu']}


STORED = {p.stem: error_rows(p) for p in sorted((ROOT/'bench/results').glob('*.json'))}


def script(subject):
    "The module bench/<subject>.py."
    if str(ROOT/'bench') not in sys.path: sys.path.insert(0, str(ROOT/'bench'))
    return importlib.import_module(subject)


def within(value, row, sds=4): return math.isfinite(value) and abs(value - row['value']) <= sds*row['sd']


@pytest.mark.parametrize('subject', [s for s, rows in STORED.items() if rows])
def test_a_quick_row_holds(subject):
    cheap = getattr(script(subject), 'CHEAP', {})
    ids = [id for id in cheap if id in STORED[subject]]
    assert ids, f'bench/{subject}.py: say in CHEAP which of its rows is quick: {", ".join(STORED[subject])}'
    for id in ids:
        row = STORED[subject][id]
        value = cheap[id](row['n'])  # seeds 0 ... n-1 are in the stored mean
        assert within(value,
                      row), (f"{id}: now {value:.5f}, stored {row['value']:.5f} with spread {row['sd']:.5f}; "
                                    f'if the change is meant, run `make bench NAME={subject}`')


def test_within():
    row = dict(value=.8, sd=.002)
    assert within(.8079, row) and within(.7921, row) and not within(.8081, row) and not within(.79, row)
    assert not within(float('nan'), row)


def test_spread_is_stored():
    "A row without a spread could never be held."
    assert STORED
    assert not [id for rows in STORED.values() for id, r in rows.items() if not r['sd'] > 0]


def test_partial_run_keeps_rows_of_the_same_head_only(tmp_path, capsys):
    """Rows that are not measured anew stay; where machine or versions have changed, the stored file is left
    as it is."""
    record, path = script('_record'), tmp_path/'a.json'
    first, second, other = (record.row(id, [v], 's') for id, v in (('a', 1), ('b', 2), ('b', 3)))
    record.save('a', [first, second], path=path)
    record.save('a', [other], path=path, keep=True)
    assert record.stored_rows(path) == {'a': first, 'b': other}
    d = json.loads(path.read_text()); d['machine']['cores'] += 1; path.write_text(json.dumps(d))
    before = path.read_bytes()
    record.save('a', [second], path=path, keep=True)
    assert path.read_bytes() == before and record.stored_rows(tmp_path/'a_part.json') == {'b': second}
    assert 'a_part.json' in capsys.readouterr().out
