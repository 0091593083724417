"""Notebooks merge cell by cell, and what comes out is a notebook in any case: tried in a repository of its
own."""
import json, subprocess, sys

import nbformat
import pytest

import setup_env
from conftest import ROOT
from merge_notebooks import merge

SOURCES = 'import math', 'x = 2', 'x*2', "print('took 0.1 s')"


def notebook(sources=SOURCES, took='0.1', picture='AAAA', changed=None):
    "A notebook as a refresh leaves it: its time and its picture differ each time."
    cells = [nbformat.v4.new_code_cell(s, id=f'cell{i}') for i, s in enumerate(sources)]
    for c in cells: c.execution_count = None
    shown = {'image/png': picture*100, 'text/plain': f'<Figure {took}>'}
    cells[-1].outputs = [nbformat.v4.new_output('stream', name='stdout',
                                                text=f'took {took} s\nit was\n{took}\n'),
                         nbformat.v4.new_output('display_data', data=shown)]
    if picture == 'CCCC': del cells[-1].outputs[0]  # one output fewer
    for i, s in (changed or {}).items(): cells[i].source = s
    return nbformat.v4.new_notebook(cells=cells)


def write(path, nb):
    path.write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


class Repo:
    "A repository with .gitattributes and the merge driver of this project, and what it needs of it."
    def __init__(self, folder, driver=True):
        self.folder, self.nb = folder, folder/'nbs'/'a b.ipynb'
        self.nb.parent.mkdir()
        (folder/'tools').mkdir()
        for f in ('.gitattributes', 'tools/merge_notebooks.py'): (folder/f).write_bytes((ROOT/f).read_bytes())
        self.git('init', '-q', '-b', 'main')
        for k, v in {'user.name': 'A', 'user.email': 'a@b.invalid', 'merge.conflictStyle': 'diff3'}.items():
            self.git('config', k, v)
        if driver: setup_env.set_merge_driver(sys.executable, folder)
        self.commit(notebook(), 'start')

    def git(self, *args, ok=True):
        done = subprocess.run(['git', *args], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0 or not ok, done.stdout + done.stderr
        return done

    def commit(self, nb, said):
        write(self.nb, nb)
        self.git('add', '-A')
        self.git('commit', '-q', '-m', said)

    def branches(self, ours, theirs):
        self.git('switch', '-q', '-c', 'other')
        self.commit(theirs, "Don't lose this")
        self.git('switch', '-q', 'main')
        self.commit(ours, 'ours')

    def read(self):
        nb = nbformat.read(self.nb, 4)
        nbformat.validate(nb)
        return nb


@pytest.fixture
def repo(tmp_path): return Repo(tmp_path)


REFRESHED = notebook(took='0.2', picture='BBBB'), notebook(took='33.3', picture='CCCC')


@pytest.mark.parametrize('how', ['merge', 'rebase'])
def test_two_refreshes_merge(repo, how):
    "Neither branch changed a source: git has nothing to ask."
    repo.branches(*REFRESHED)
    repo.git('merge', '-q', '--no-edit', 'other') if how == 'merge' else repo.git('rebase', 'other')
    nb = repo.read()
    assert [c.source for c in nb.cells] == list(SOURCES)
    made = [r.cells[-1].outputs for r in REFRESHED]
    assert nb.cells[-1].outputs in made, 'outputs of one run, not a mixture'


@pytest.mark.parametrize('driver', [False, True])
def test_without_the_driver_git_asks(tmp_path, driver):
    "What the driver is for; and a clone without it works as any clone does."
    repo = Repo(tmp_path, driver)
    repo.branches(*REFRESHED)
    assert (repo.git('merge', '--no-edit', 'other', ok=False).returncode == 0) == driver


def test_driver_that_has_gone_falls_back(repo):
    "A .venv that was removed, an old commit without the script: as any text."
    setup_env.set_merge_driver(repo.folder/'no'/'python', repo.folder)
    repo.branches(notebook(changed={0: 'import cmath'}), notebook(took='5'))
    repo.git('merge', '-q', '--no-edit', 'other')
    nb = repo.read()
    assert nb.cells[0].source == 'import cmath' and '5' in nb.cells[-1].outputs[0].text


def test_changes_in_neighbouring_cells_both_stay(repo):
    theirs = notebook(changed={2: 'x*5', 3: "print('took 9 s')"}, took='9')
    repo.branches(notebook(changed={1: 'x = 3'}, took='2'), theirs)
    repo.git('merge', '-q', '--no-edit', 'other')
    nb = repo.read()
    assert [c.source for c in nb.cells] == ['import math', 'x = 3', 'x*5', "print('took 9 s')"]
    assert '9' in nb.cells[3].outputs[0].text, 'outputs come from the side whose source was taken'


def test_different_lines_of_one_cell_both_stay(repo):
    long = ('\n'.join('abcdefghi'), *SOURCES[1:])
    repo.commit(notebook(long), 'longer')
    repo.branches(notebook((long[0].replace('a', 'A'), *SOURCES[1:])),
                  notebook((long[0].replace('i', 'I'), *SOURCES[1:]), took='7'))
    repo.git('merge', '-q', '--no-edit', 'other')
    assert repo.read().cells[0].source == '\n'.join('AbcdefghI')


def test_new_and_removed_cells(repo):
    ours, theirs = notebook(), notebook(took='8')
    ours.cells.insert(1, nbformat.v4.new_markdown_cell('new here', id='new1'))
    del theirs.cells[2]
    repo.branches(ours, theirs)
    repo.git('merge', '-q', '--no-edit', 'other')
    assert [c.source for c in repo.read().cells] == ['import math', 'new here', 'x = 2', SOURCES[3]]


def test_conflict_is_a_notebook_too(repo):
    "Both versions stand in it, between marked cells; git says that there is a conflict."
    repo.branches(notebook(changed={1: 'x = 3'}), notebook(changed={1: 'x = 4'}))
    done = repo.git('merge', '--no-edit', 'other', ok=False)
    assert done.returncode == 1 and 'CONFLICT' in done.stdout
    nb = repo.read()
    said = [c.source for c in nb.cells]
    assert said == ['import math', '`<<<<<<< ours`', 'x = 3', '`=======`', 'x = 4', '`>>>>>>> theirs`', 'x*2',
                    SOURCES[3]]
    assert len({c.id for c in nb.cells}) == len(nb.cells)


def test_fold_is_part_of_a_cell():
    "`source_hidden`, set on one side, is merged like a change of the source."
    base, ours, theirs = notebook(), notebook(took='2'), notebook(took='3')
    theirs.cells[1].metadata['jupyter'] = {'source_hidden': True}
    nb, conflicts = merge(base, ours, theirs)
    assert not conflicts and nb['cells'][1]['metadata'] == {'jupyter': {'source_hidden': True}}


def test_worktree_and_no_clone(repo, tmp_path_factory):
    "The setting holds in worktrees as well; where there is no repository nothing happens."
    other = tmp_path_factory.mktemp('other')
    repo.git('worktree', 'add', '-q', other/'tree')
    assert 'merge_notebooks' in subprocess.run(['git', 'config', 'merge.notebooks.driver'], cwd=other/'tree',
                                               capture_output=True, text=True).stdout
    setup_env.set_merge_driver(sys.executable, other)
    assert list(other.iterdir()) == [other/'tree']
