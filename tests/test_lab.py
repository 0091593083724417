"""JupyterLab as `make lab` starts it: a notebook opens unchanged, its set-up and checks collapsed, and is
saved as it was."""
import json, os, shutil, socket, subprocess, sys, time, urllib.request

import pytest
from conftest import ROOT, chromium
from fold import folded
from run import notebooks

NOTEBOOK = '26_checks.ipynb'  # a short one


@pytest.fixture
def lab(tmp_path):
    """A server with `make lab`'s settings over a copy of one notebook, whose kernels do not read the user's
    own settings."""
    (tmp_path/'nbs').mkdir()
    for f in ('pyproject.toml', f'nbs/{NOTEBOOK}', 'nbs/colab.svg'): shutil.copy(ROOT/f, tmp_path/f)
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    options = [f'--config={ROOT}/tools/jupyter_server_config.py', f'--notebook-dir={tmp_path}/nbs',
               '--no-browser', '--allow-root',
               f'--port={port}', '--ServerApp.port_retries=0', '--IdentityProvider.token=t',
               '--LabApp.news_url=None',
               '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate']
    env = os.environ | {'JUPYTER_CONFIG_DIR': str(tmp_path/'config'),
                        'JUPYTER_DATA_DIR': str(tmp_path/'data')}
    with open(tmp_path/'log', 'w') as log:
        server = subprocess.Popen([sys.executable, '-m', 'jupyter', 'lab', *options], cwd=tmp_path, env=env,
                                  stdout=log, stderr=log)
    try:
        for _ in range(240):
            try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api?token=t', timeout=5); break
            except OSError: time.sleep(.25)
            assert server.poll() is None, (tmp_path/'log').read_text()[-2000:]
        yield f'http://127.0.0.1:{port}/lab/tree/{NOTEBOOK}?token=t', tmp_path/'nbs'/NOTEBOOK
    finally:
        server.terminate()
        server.wait(30)


def test_notebook_opens_unchanged_and_folded(lab):
    address, path = lab
    before = path.read_bytes()
    with_browser = chromium()
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        page = p.chromium.launch(executable_path=with_browser, args=['--no-sandbox']).new_page()
        page.goto(address, timeout=60_000)
        # Only now has the kernel told JupyterLab its name and version, which used to be written into the
        # notebook.
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status=idle]', timeout=60_000)
        time.sleep(2)
        assert page.locator('.lm-TabBar-tab[data-type=document-title]').count() >= 1
        assert page.locator('.jp-mod-dirty').count() == 0, 'JupyterLab marks the notebook as changed'
        shown = len([c for c in json.loads(before)['cells'][:8] if c['cell_type'] == 'code' and folded(c)])
        assert page.locator(
            '.jp-Notebook .jp-CodeCell .jp-InputPlaceholder, .jp-Notebook .jp-CodeCell '
            '.jp-Placeholder').count() >= shown > 2
        page.locator('.jp-Notebook').click(position={'x': 5, 'y': 5})
        page.keyboard.press('Control+s')
        time.sleep(2)
    assert path.read_bytes() == before, 'saving leaves the notebook as it was'


def test_that_notebook_is_there(): assert NOTEBOOK in [p.name for p in notebooks()]
