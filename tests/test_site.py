"""The rendered site, by Quarto or by smalldocs: what its pages say and load, what a browser makes of it.

`pytest tests/test_site.py --site _docs` looks at a site that is there; without --site one is rendered from
nbs/.
"""
import ast, functools, http.server, json, re, subprocess, sys, threading
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest, yaml
from bs4 import BeautifulSoup, Tag

import docs, fold, slim
from conftest import ROOT, chromium

WIDTHS = 390, 1280
SITE_URL = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['site-url'].rstrip('/')
BASE = urlsplit(SITE_URL).path + '/'
HEAVIEST = 1_200_000  # bytes of a page with all that it loads, not compressed
FOREIGN = re.compile(r'\s*(https?:)?//', re.I)
LOADS = {'script': ['src'], 'link': ['href'], 'img': ['src', 'srcset'], 'source': ['src', 'srcset'],
         'iframe': ['src'], 'video': ['src', 'poster'],
         'audio': ['src'], 'embed': ['src'], 'object': ['data'], 'track': ['src'], 'input': ['src'],
         'image': ['href']}
CSS_LOAD = re.compile(r'''(?:@import\s*["']?|url\(\s*["']?)\s*(?:https?:)?//[^\s"')]+''', re.I)
JS_LOAD = re.compile(
    r'''(?:\bimport\b|\bfrom\b|\bfetch\s*\(|\bimportScripts\s*\(|\bsrc\s*=)[\s("'`]*'''
    r'''(?:https?:)?//[^\s"'`)]+''', re.I)


# ---- the sites

@pytest.fixture(scope='session')
def site(request, tmp_path_factory):
    given = request.config.getoption('--site')
    if given:
        assert (Path(given)/'index.html').is_file(), (
            f'--site {given} holds no index.html: render the site first (make docs)')
        return Path(given).resolve()
    out = tmp_path_factory.mktemp('site')/'_docs'
    done = subprocess.run([sys.executable, ROOT/'tools/docs.py', '--out', out], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='session')
def pages(site): return read_pages(site)


@pytest.fixture(scope='module')  # closed before another file's test starts a Playwright of its own
def browser():
    program = chromium()
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        # no name leads out; a page's request for one is seen all the same
        home = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'
        b = p.chromium.launch(executable_path=program, args=['--no-sandbox', home])
        yield b
        b.close()


class Pages(http.server.SimpleHTTPRequestHandler):
    "Serve a folder as GitHub Pages does: under the path of the site, with a page for what is not there."
    def log_message(self, *args): pass
    def translate_path(self, path): return super().translate_path(path.removeprefix(BASE.rstrip('/')))
    def send_error(self, code, *args, **kwargs):
        own = Path(self.directory)/'404.html'
        if code != 404 or not own.is_file(): return super().send_error(code, *args, **kwargs)
        body = own.read_bytes()
        self.send_response(404)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope='session')
def serve():
    "A function that serves a folder and returns its address."
    running = []
    def start(folder):
        handler = functools.partial(Pages, directory=folder)
        running.append(http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{running[-1].server_port}{BASE}'
    yield start
    for server in running: server.shutdown(); server.server_close()


# ---- what can be seen in the files; each check returns its findings

def read_pages(site):
    "The pages of a site, parsed: {path: soup}."
    return {f.relative_to(site).as_posix(): BeautifulSoup(f.read_text(encoding='utf-8'), 'html.parser')
            for f in sorted(site.rglob('*.html'))}


def broken_links(site, pages):
    "References to a file or an anchor that is not there."
    ids = {p: {t['id'] for t in soup.find_all(id=True)}
           | {t['name'] for t in soup.find_all('a', attrs={'name': True})} for p, soup in pages.items()}
    found = []
    def look(page, ref):
        if not ref or urlsplit(ref).scheme or ref.startswith('//'): return
        path, _, anchor = urljoin(f'{BASE}{page}', ref).partition('#')
        path = unquote(path.partition('?')[0]).removeprefix(BASE).lstrip('/')
        if path == '' or path.endswith('/'): path += 'index.html'
        if not (site/path).is_file(): found.append(f'{page}: {ref} leads nowhere')
        elif anchor and path in ids and unquote(anchor) not in ids[path]:
            found.append(f'{page}: {ref} has no such anchor')
    for page, soup in pages.items():
        for tag in soup.find_all(True):
            for key in [*LOADS.get(tag.name, []), *(['href'] if tag.name in ('a', 'area') else [])]:
                if key != 'srcset': look(page, tag.get(key))
    index = site/'search.json'
    for entry in json.loads(index.read_text(encoding='utf-8')) if index.is_file() else ():
        look('search.json', entry['href'])
    return found


def foreign_loads(site, pages):
    "Scripts, styles, pictures and fonts from another host, in pages and stylesheets."
    found = []
    for page, soup in pages.items():
        for tag in soup.find_all(list(LOADS)):
            if tag.name == 'link' and 'canonical' in tag.get('rel', []): continue
            found += [f'{page}: <{tag.name}> loads {tag[k]}'
                      for k in LOADS[tag.name] if FOREIGN.match(tag.get(k) or '')]
        for tag in soup.find_all('script', src=False):
            found += [f'{page}: a script has {m}' for m in JS_LOAD.findall(tag.string or '')]
        for tag in soup.find_all('style'):
            found += [f'{page}: a style has {m}' for m in CSS_LOAD.findall(tag.string or '')]
        for tag in soup.find_all(style=True):
            found += [f'{page}: a style has {m}' for m in CSS_LOAD.findall(tag['style'])]
    for f in site.rglob('*.css'):
        found += [f'{f.name}: {m}' for m in CSS_LOAD.findall(f.read_text(encoding='utf-8'))]
    return found


def unreadable(pages):
    "Pictures without alt text, formulas left in LaTeX, answers that do not fold."
    found = []
    for page, soup in pages.items():
        found += [f"{page}: the picture {img.get('src', '')[:40]} has no alt text"
                  for img in soup.find_all('img') if not (img.get('alt') or '').strip()]
        found += [f'{page}: the formula {m.get_text()!r} is no MathML'
                  for m in soup.select('span.math') if not m.find('math')]
        for text in (soup.main or soup).find_all(string=re.compile(r'\\\(|\\\[|\$\$')):
            if not text.find_parent(['code', 'pre', 'script', 'style', 'math']):
                found.append(f'{page}: a formula is left as {str(text).strip()[:60]!r}')
        for d in soup.select('main details'):
            rest = [c for c in d.children if getattr(c, 'name', 'text') != 'summary' and str(c).strip()]
            if not d.find('summary', recursive=False) or not rest:
                found.append(f'{page}: a fold has no summary or nothing to unfold: {d.get_text()[:60]!r}')
    return found


def test_links_resolve(site, pages): assert broken_links(site, pages) == []
def test_nothing_foreign_is_loaded(site, pages): assert foreign_loads(site, pages) == []
def test_pictures_formulas_and_folds(pages): assert unreadable(pages) == []


def test_footer_says_what_rendered_it(pages):
    from lesson8 import __version__ as number
    for page, soup in pages.items():
        said = [p.get_text() for p in soup.select('footer .rendered-by')]
        form = (rf'Rendered by (Quarto|smalldocs) \d+(\.\d+)+ from lesson8 {re.escape(number)} on \d+ \w+ '
                rf'\d{{4}}$')
        assert len(said) == 1 and re.match(form, said[0]), (page, said)


def test_favicon(site, pages):
    for page, soup in pages.items():
        icons = [tag['href'].removeprefix(BASE) for tag in soup.find_all('link', rel='icon')]
        assert icons and (site/page).parent.joinpath(icons[0]).resolve().read_text().lstrip().startswith(
            '<svg'), page


# ---- the plan: _quarto.yml, the notebooks, and what the pages show

def listed(): return docs.sidebar(ROOT/'_quarto.yml')


def notebooks(): return sorted(p.name for p in (ROOT/'nbs').glob('*.ipynb') if p.name[0] not in '._')


def page_of(nb):
    from nbdev.config import nbpath2html
    return nbpath2html(Path(nb)).name


def test_every_notebook_is_in_the_sidebar():
    assert sorted(listed()) == notebooks()


def test_sidebar_is_in_story_order(pages):
    numbers = [int(n[0]) for p in listed() if (n := re.findall(r'^\d+', p))]
    assert listed()[0] == 'index.ipynb' and numbers == sorted(numbers)
    for page, soup in pages.items():
        assert [to for to, _ in sidebar_of(page, soup)] == [page_of(p) for p in listed()], page


def test_config_is_found_by_nbdev_and_agrees_with_settings():
    assert (ROOT/'nbs/_quarto.yml').read_text() == (ROOT/'_quarto.yml').read_text()
    site = yaml.safe_load((ROOT/'_quarto.yml').read_text())['website']
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT/'settings.ini')
    s = settings['DEFAULT']
    assert site['site-url'] == s['doc_host'] + s['doc_baseurl']
    assert site['repo-url'] == f"https://github.com/{s['user']}/{s['repo']}"
    assert site['repo-branch'] == s['branch']
    assert site['description'] == s['description']


def sidebar_of(page, soup):
    "The links of a page's sidebar: (page, text)."
    links = soup.select('#quarto-sidebar .sidebar-menu-container a.sidebar-link[href]')
    to = lambda a: a['href'].removeprefix(BASE).removeprefix('./').split('#')[0] or page
    return [(to(a), plain(a.get_text())) for a in links]


def cells_of(nb): return json.loads((ROOT/'nbs'/nb).read_text(encoding='utf-8'))['cells']


def module_of(nb): return ROOT/'lesson8'/Path(page_of(nb)).with_suffix('.py')


@functools.cache
def exported():
    "Each public function and class: (notebook, module, name, line, whether its cell shows the source)."
    found = []
    for nb in notebooks():
        module = module_of(nb)
        if not module.is_file(): continue
        cells = [''.join(c['source']) for c in cells_of(nb) if c['cell_type'] == 'code']
        shown = '\n'.join(c for c in cells if re.search(r'^#\| *exports\b', c, re.M))
        tree = ast.parse(module.read_text(encoding='utf-8'))
        public = next((ast.literal_eval(n.value) for n in tree.body
                       if isinstance(n, ast.Assign) and n.targets[0].id == '__all__'), [])
        found += [(nb, module, n.name, n.lineno, bool(re.search(rf'^(def|class) {n.name}\b', shown, re.M)))
                  for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name in public]
    assert found
    return found


def names(nb): return {name for n, _, name, *_ in exported() if n == nb}


def entry(soup, name, through=()):
    "The tags under the first heading of a page that is `name`, up to the next one that is not in `through`."
    heading = next((h for h in soup.main.find_all(['h2', 'h3', 'h4']) if h.get_text().strip() == name), None)
    found = []
    for tag in heading.next_elements if heading else ():
        if not isinstance(tag, Tag): continue
        if tag.name in ('h1', 'h2', 'h3', 'h4') and tag.get_text().strip() not in through: break
        found.append(tag)
    return found


def test_exported_names_are_documented(pages):
    "Each public name has its heading on its page, a signature beneath it, and a link to its line of source."
    missing = []
    for nb, module, name, line, _ in exported():
        soup = pages[page_of(nb)]
        code = next((t for t in entry(soup, name) if t.name == 'pre'), None)
        said = code.get_text().strip() if code else ''
        kind = 'class' if name[0].isupper() else 'def'
        if not re.match(rf'{kind} {name}\b', said):
            missing.append(f'{name}: no signature under its first heading on {page_of(nb)}: {said[:40]!r}')
            continue
        missing += [f'{name}: {bad} in it' for bad in ('__main__', '*args, **kwargs') if bad in said]
        here = f'https://github.com/lesson8-course/lesson8/blob/main/lesson8/{module.name}#L{line}'
        if not soup.find('a', href=here): missing.append(f'{name}: no link to {here}')
    assert missing == []


def test_fields_of_named_tuples_are_shown(pages):
    checked = 0
    for nb, module, name, line, _ in exported():
        tree = ast.parse(module.read_text(encoding='utf-8'))
        node = next(n for n in tree.body if getattr(n, 'name', '') == name)
        if 'NamedTuple' not in [ast.unparse(b) for b in getattr(node, 'bases', [])]: continue
        said = next(t for t in entry(pages[page_of(nb)], name) if t.name == 'pre').get_text()
        for field in [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]:
            assert re.search(rf'^    {field}:.+?,( # \S.*)?$', said, re.M), (name, field, said)
        checked += 1
    assert checked >= 5


def test_exported_names_are_on_this_page(pages):
    for nb, _, name, *_ in exported():
        assert name in [a.get_text().strip() for a in pages[page_of(nb)].select('#TOC a')], (nb, name)


def test_exported_names_are_in_the_search(site):
    entries = json.loads((site/'search.json').read_text(encoding='utf-8'))
    found = {(e['href'].partition('#')[0], e['section']) for e in entries if '#' in e['href']}
    assert [(page_of(nb), name) for nb, _, name, *_ in exported() if (page_of(nb), name) not in found] == []
    assert len({e['objectID'] for e in entries}) == len(entries)


def test_sources_are_folded_under_their_signatures(pages):
    "Where a cell says `#| exports`, its code is on the page: closed, below the names that it defines."
    for nb, _, name, _, shown in exported():
        below = entry(pages[page_of(nb)], name, names(nb))
        folds = [t for t in below if t.name == 'details' and not t.has_attr('open')]
        sources = [f for f in folds if f.find('summary').get_text().strip() == 'Source']
        code = '\n'.join(f.find('pre').get_text() for f in sources)
        assert bool(re.search(rf'^(def|class) {name}\b', code, re.M)) == shown, (nb, name)
    for page, soup in pages.items():
        assert 'Exported source' not in [t.get_text().strip() for t in soup.find_all('summary')], page


# ---- a page says what its notebook says

HEADING = re.compile(r'^(#{2,4}) +(.+?) *$')
RULE = re.compile(r'^\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$', re.M)  # the line below the head of a table


def told(nb):
    "The markdown of a notebook without fenced code, and how many tables its cells show."
    cells = cells_of(nb)
    md = '\n\n'.join(''.join(c['source']) for c in cells[1:] if c['cell_type'] == 'markdown')
    hidden = re.compile(r'^#\| *(hide|export|exporti)$|^#\| *(include|output): false', re.M)
    shown = [c for c in cells if c['cell_type'] == 'code' and not hidden.search(''.join(c['source']))]
    data = [o.get('data', {}) for c in shown for o in c.get('outputs', [])]
    outputs = [''.join(d.get(kind, '')) for d in data for kind in ('text/html', 'text/markdown')]
    tables = sum(t.count('<table') or len(RULE.findall(t)) for t in outputs)
    return re.sub(r'^```.*?^```', '', md, flags=re.S | re.M), tables


def items_of(main): return [i for i in main.find_all('li') if not i.find_parent(id='title-block-header')]


def bare(text): return plain(re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', text))


def test_headings_are_the_notebooks(pages):
    for nb in notebooks():
        want = [bare(m[2]) for line in told(nb)[0].splitlines() if (m := HEADING.match(line))]
        shown = [h.get_text() for h in pages[page_of(nb)].select('main :is(h2, h3, h4)')]
        assert [plain(h) for h in shown if h.strip() not in names(nb)] == want, nb


def test_lists_and_tables_are_the_notebooks(pages):
    checked = 0
    for nb in notebooks():
        md, tables = told(nb)
        main = pages[page_of(nb)].main
        code = ast.parse(module_of(nb).read_text(encoding='utf-8')) if names(nb) else ast.parse('')
        documented = [ast.get_docstring(n) or '' for n in code.body if getattr(n, 'name', '') in names(nb)]
        items = len(re.findall(r'^ *(?:[-*+]|\d+\.) +\S', '\n\n'.join([md, *documented]), re.M))
        assert len(items_of(main)) == items, nb
        tables += len(RULE.findall(md))
        assert len(main.find_all('table')) == tables, nb
        checked += items + tables
    assert checked > 100


def test_pages_hold_the_numbers_of_their_notebooks(pages):
    "Title and sidebar say what the notebook's first line says, with its number; the address does not."
    sidebars = {page: sidebar_of(page, soup) for page, soup in pages.items()}
    for nb in notebooks():
        first = ''.join(cells_of(nb)[0]['source']).splitlines()[0].removeprefix('# ').strip()
        number = (re.match(r'\d+[a-z]?(?=_)', nb) or [''])[0]
        want = first if first.split()[0] == number or not number else f'{number} {first}'
        soup = pages[page_of(nb)]
        assert plain(soup.find('h1').get_text()) == plain(want), nb
        assert plain(soup.title.get_text()).startswith(plain(want)), nb
        assert not re.match(r'\d', page_of(nb))
        if nb == 'index.ipynb': continue
        for page, shown in sidebars.items():
            assert [text for to, text in shown if to == page_of(nb)] == [plain(want)], (page, nb)


def test_questions_stand_beside_their_triangles(pages):
    "A summary holds words, no list or paragraph with a line of its own, and code keeps its straight quotes."
    checked = 0
    for nb in notebooks():
        asked = re.findall(r'<summary>(.*?)</summary>', told(nb)[0], re.S)
        want = [plain(BeautifulSoup(t, 'html.parser').get_text()) for t in asked]
        shown = pages[page_of(nb)].select('main details:not(.code-fold) > summary')
        assert [plain(t.get_text()) for t in shown] == want, nb
        assert [t for s in shown for t in s.find_all(['ol', 'ul', 'li', 'p', 'div'])] == [], nb
        code = pages[page_of(nb)].select('main :is(p, li, details) code')
        assert [t for t in code if re.search('[‘’“”]', t.get_text())] == [], nb
        checked += len(want)
    assert checked > 20


def test_cells_that_fold(pages):
    """A cell with `#| code-fold: true` is a fold with its `#| code-summary` on the page; an exported one, as
    always, a Source."""
    for nb in notebooks():
        want = [fold.summary(c) for c in cells_of(nb) if c['cell_type'] == 'code']
        shown = [s.get_text().strip() for s in pages[page_of(nb)].select('main details.code-fold > summary')]
        assert [s for s in shown if s != 'Source'] == [s for s in want if s not in (None, 'Source')], nb


def test_badge_is_a_named_link_and_no_figure(pages):
    checked = 0
    for page, soup in pages.items():
        for img in soup.find_all('img', src=re.compile('colab')):
            assert img['alt'] == 'Open in Colab' and img.parent.name == 'a', page
            assert not img.find_parent('figure'), page
            checked += 1
        assert soup.select('figure:has(figcaption:empty)') == [], page
    assert checked > 5


def test_shared_links_show_the_picture_of_the_site(site, pages):
    for page, soup in pages.items():
        shown = [m['content'] for m in soup.find_all('meta', property='og:image')]
        assert shown == [f'{SITE_URL}/social.png'], page
        assert soup.find('meta', property='og:image:alt')['content'], page
    assert (site/'social.png').read_bytes()[:4] == b'\x89PNG'


def test_skip_link_comes_first(pages):
    for page, soup in pages.items():
        first = soup.body.find(['a', 'button', 'input', 'summary'])
        assert 'skip-link' in first.get('class', []) and soup.find(id=first['href'][1:]).name == 'main', page


def test_links_to_notebooks_name_files(pages):
    for page, soup in pages.items():
        for a in soup.find_all('a', href=re.compile(r'/lesson8-course/lesson8/(blob|edit|tree)/')):
            path = a['href'].partition('#')[0].partition('/main/')[2]
            assert not path.endswith(('.ipynb', '.py')) or (ROOT/path).is_file(), (page, a['href'])


# ---- how heavy it is

def loads(site, page, soup):
    "The files that a page loads: styles, scripts, pictures, and the fonts that it shows."
    found = {page}
    def add(base, ref):
        path = unquote(urlsplit(urljoin(f'{BASE}{base}', ref)).path).removeprefix(BASE).lstrip('/')
        if urlsplit(ref).scheme or path in found or not (site/path).is_file(): return
        found.add(path)
        text = (site/path).read_text(encoding='utf-8') if path.endswith(('.css', '.js')) else ''
        if path.endswith('.css'):
            for ref in re.findall(r'url\(\s*["\']?([^"\')]+)', text):
                if 'math' not in ref or soup.find('math'): add(path, ref)
        imported = re.findall(r'(?:^|[;\s])import\s*(?:[\w{}*\s,]+from)?\s*["\'](\.[^"\']+)', text)
        for ref in imported: add(path, ref)
    for tag in soup.find_all(list(LOADS)):
        if tag.name == 'link' and not {'stylesheet', 'icon'} & set(tag.get('rel', [])): continue
        for key in LOADS[tag.name]:
            if tag.get(key): add(page, tag[key])
    return found


def test_no_page_is_heavy(site, pages):
    weights = {page: sum((site/f).stat().st_size for f in loads(site, page, soup))
               for page, soup in pages.items()}
    assert min(weights.values()) > 100_000, 'the styles are not counted'
    assert {p: w for p, w in weights.items() if w > HEAVIEST} == {}


def test_pictures_are_files(site, pages):
    for page, soup in pages.items():
        drawn = [img['src'] for img in soup.select('main img')]
        assert [s[:30] for s in drawn if s.startswith('data:') or s.endswith('.png')] == [], page
    assert list(site.rglob('*_files/**/*.png')) == []


def test_math_font_is_shipped_with_its_licence(site):
    assert (site/'fonts/stix-two-math.woff2').read_bytes()[:4] == b'wOF2'
    assert 'SIL OPEN FONT LICENSE' in (site/'fonts/OFL.txt').read_text()


def test_source_links_name_the_notebooks(pages):
    for nb in notebooks():
        link = pages[page_of(nb)].find('a', href=re.compile(r'/blob/main/nbs/'))
        assert link and link['href'] == f'https://github.com/lesson8-course/lesson8/blob/main/nbs/{nb}'


def plain(text):
    "Text without what a renderer may set in its own way: typographic quotes, spaces, marks of emphasis."
    for old, new in [('‘', "'"), ('’', "'"), ('“', '"'), ('”', '"'), ('…', '...'), ('`', ''), ('*', '')]:
        text = text.replace(old, new)
    return ' '.join(text.split())


def test_captions_and_alt_texts_come_out(pages):
    "What a cell says with `#| fig-cap` and `#| fig-alt` stands on its page."
    checked = 0
    for nb in notebooks():
        soup = pages[page_of(nb)]
        for cell in json.loads((ROOT/'nbs'/nb).read_text(encoding='utf-8'))['cells']:
            source = ''.join(cell['source'])
            has_picture = any(m.startswith('image/') for o in cell.get('outputs', [])
                              for m in o.get('data', {}))
            if cell['cell_type'] != 'code' or not has_picture: continue
            said = {k: yaml.safe_load(v)
                    for k, v in re.findall(r'^#\|\s*(fig-cap|fig-alt):\s*(.+)$', source, re.M)}
            assert set(said) == {'fig-cap', 'fig-alt'}, (
                f'{nb}: a picture needs #| fig-cap and #| fig-alt:\n{source[:200]}')
            assert soup.find('img', alt=said['fig-alt']), (nb, said)
            assert plain(said['fig-cap']) in [plain(c.get_text()) for c in soup.find_all('figcaption')], (
                (nb, said))
            checked += 1
    assert checked > 0


# ---- what a browser makes of it

OVERFLOW = '''() => {
  const wide = innerWidth + 1, found = [];
  for (const d of document.querySelectorAll('main details')) d.open = true;
  const width = document.documentElement.scrollWidth;
  if (width > wide) found.push(`the page is ${width} px wide`);
  const scrolls = e => {
    for (; e && e.tagName !== 'MAIN'; e = e.parentElement)
      if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return true;
  };
  for (const e of document.querySelectorAll('main *')) {
    const r = e.getBoundingClientRect();
    if (r.width && r.right > wide && !scrolls(e) && getComputedStyle(e).position !== 'absolute')
    {
      const tag = `<${e.tagName.toLowerCase()} class="${e.className}">`;
      found.push(`${tag} reaches to ${Math.round(r.right)} px`);
      break;
    }
  }
  for (const e of document.querySelectorAll('main pre'))
    if (e.scrollWidth > e.clientWidth + 1)
      { found.push(`code is cut: ${e.textContent.slice(0, 60)}`); break; }
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const lines = e => {
    const r = document.createRange();
    r.selectNodeContents(e);
    return [...r.getClientRects()];
  };
  const covers = (button, text) => {
    const box = button.getBoundingClientRect();
    if (box.width && lines(text).some(r => r.width && meet(r, box)))
      found.push(`a button lies on ${text.textContent.slice(0, 60)}`);
  };
  for (const b of [...document.querySelectorAll('main .code-copy-button')].slice(0, 12))
    covers(b, b.parentElement.querySelector('code'));
  const bar = document.querySelector('.quarto-secondary-nav'), crumbs = bar && bar.querySelector('nav');
  if (crumbs) for (const b of bar.querySelectorAll('button')) {
    const seen = getComputedStyle(crumbs).overflowX === 'visible' ? crumbs.querySelector('ol') : crumbs;
    const [own, text] = [b, seen].map(e => e.getBoundingClientRect());
    if (own.width && Math.min(own.right, text.right) - Math.max(own.left, text.left) > 4)
      found.push('a button lies on the breadcrumbs');
  }
  for (const i of document.images)
    if (i.complete && !i.naturalWidth) found.push(`the picture ${i.src.slice(0, 60)} does not show`);
  return found;
}'''
BRIGHTNESS = '''getComputedStyle(document.body).backgroundColor.match(/\\d+/g)
  .slice(0, 3).reduce((a, b) => a + +b, 0) / 3'''
CONTRAST = '''() => {
  const rgba = s => {
    const [r, g, b, a = 1] = (s.match(/[\\d.]+/g) || []).map(Number);
    return s.startsWith('color(') ? [r*255, g*255, b*255, a] : [r, g, b, a];
  };
  const over = (f, b) => [0, 1, 2].map(i => f[i] * f[3] + b[i] * (1 - f[3]));
  const back = e => {
    const c = e ? rgba(getComputedStyle(e).backgroundColor) : [255, 255, 255, 1];
    return c[3] === 1 ? c.slice(0, 3) : over(c, back(e.parentElement));
  };
  const lum = c => {
    const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const out = [];
  for (const s of ['main p', 'main li', 'main h2', 'main a', 'main pre', '#quarto-sidebar .sidebar-title a',
                   '#quarto-sidebar a.sidebar-link', '.rendered-by']) {
    const e = [...document.querySelectorAll(s)].find(e => e.textContent.trim() && e.checkVisibility());
    if (!e) continue;
    const b = back(e), f = rgba(getComputedStyle(e).color);
    for (let p = e; p; p = p.parentElement) f[3] *= getComputedStyle(p).opacity;
    const [hi, lo] = [lum(over(f, b)), lum(b)].sort((x, y) => y - x);
    out.push([s, (hi + .05) / (lo + .05)]);
  }
  return out;
}'''


def visit(browser, address, names, widths=WIDTHS, look=lambda page: ()):
    """Open pages at the given widths; return what went wrong: errors, requests to other hosts, missing files,
    overflow, and what `look` finds on the page at the last width."""
    found = []
    # what moves would be caught half-way
    page = browser.new_page(viewport={'width': widths[0], 'height': 800}, color_scheme='light',
                            reduced_motion='reduce')
    now = ''
    page.on('console', lambda m: m.type == 'error' and found.append(f'{now}: the console says {m.text}'))
    page.on('pageerror', lambda e: found.append(f'{now}: {e}'))
    page.on('response', lambda r: r.status >= 400 and found.append(f'{now}: {r.url} answers {r.status}'))
    def asked(r):
        if not r.url.startswith((address, 'data:', 'blob:')): found.append(f'{now}: asks for {r.url}')
    page.on('request', asked)
    for now in names:
        page.goto(address + now, wait_until='load')
        for width in widths:
            page.set_viewport_size({'width': width, 'height': 800})
            found += [f'{now} at {width} px: {o}' for o in page.evaluate(OVERFLOW)]
        found += [f'{now}: {o}' for o in look(page)]
        page.set_viewport_size({'width': widths[0], 'height': 800})
    page.close()
    return found


@pytest.mark.browser
def test_search_finds_a_page(browser, serve, site, pages):
    address = serve(site)
    want = page_of(listed()[-1])
    words = pages[want].find('h1').get_text().strip()
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    page.goto(address)
    page.locator('#quarto-search input').first.click()
    page.keyboard.type(words)
    hit = page.locator(f'.search-result[href*="{want}"], .aa-Panel a[href*="{want}"]').first
    hit.wait_for(timeout=10_000)
    hit.click()
    page.wait_for_url(f'**/{want}*')
    page.close()


@pytest.mark.browser
def test_search_finds_a_name(browser, serve, site):
    "Typing a function's name offers its documentation before anything else on its page."
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    page.goto(serve(site))
    page.locator('#quarto-search input').first.click()
    page.keyboard.type('conv2d')
    hits = page.locator('.search-result[href], .aa-Panel a[href]')
    hits.first.wait_for(timeout=10_000)
    page.wait_for_timeout(300)
    addresses = [a for a in hits.evaluate_all('all => all.map(e => e.getAttribute("href"))') if '#' in a]
    assert addresses[0].partition('#')[2] == 'conv2d', addresses[:5]
    page.close()


BARRED = 'bars the way'
# axe sees one of a kind: of hundreds of paragraphs, blocks of code and rows, those that show something new.
THIN = '''() => {
  const seen = new Set(), kind = x => `${x.tagName}.${x.className}<${x.parentElement.tagName}`;
  const kinds = e => [e, ...e.querySelectorAll('*')].map(kind);
  for (const d of document.querySelectorAll('main details')) d.open = true;
  const unique = 'img, input, button:not(.code-copy-button), a:empty';
  const many = 'p, li, details, div.sourceCode, pre, tr, math, h2, h3';
  for (const e of document.querySelectorAll(`main :is(${many})`)) {
    if (!e.isConnected || e.querySelector(unique) || e.scrollWidth > e.clientWidth + 1) continue;
    const fresh = kinds(e).filter(k => !seen.has(k));
    if (fresh.length) fresh.forEach(k => seen.add(k)); else e.remove();
  }
}'''


def barriers(page):
    """What axe finds on an open page that is serious or critical; in the dark scheme it is asked about
    contrast."""
    from axe_playwright_python.sync_playwright import Axe
    found = []
    def grave(scheme, violations):
        for v in violations:
            if v['impact'] not in ('serious', 'critical'): continue
            node = v['nodes'][0]
            said = f"{node['html'][:120]} {node.get('failureSummary', '')[-120:]}"
            found.append(f"{BARRED}{scheme}: {v['id']}: {said}")
    page.evaluate(THIN)
    grave('', Axe().run(page).response['violations'])
    page.emulate_media(color_scheme='dark')
    page.wait_for_timeout(100)
    if page.evaluate(BRIGHTNESS) >= 90: found.append(f'{BARRED}: it does not follow a preference for dark')
    options = {'resultTypes': ['violations'], 'runOnly': ['color-contrast']}
    grave(', dark', page.evaluate('options => axe.run(options)', options)['violations'])
    page.emulate_media(color_scheme='light')
    return found


@pytest.fixture(scope='module')
def faults(browser, serve, site, pages):
    "What a browser finds on the pages: each is opened once, for all that can be seen there."
    return visit(browser, serve(site), list(pages), look=barriers)


@pytest.mark.browser
def test_pages_open_without_faults(faults): assert [f for f in faults if BARRED not in f] == []


@pytest.mark.browser
def test_nothing_bars_the_way(faults):
    "axe finds nothing serious on any page, light or dark, and each follows a preference for dark."
    assert [f for f in faults if BARRED in f] == []


@pytest.mark.browser
def test_dark_without_scripts_is_legible(browser, serve, site):
    context = browser.new_context(java_script_enabled=False, color_scheme='dark')
    page = context.new_page()
    page.set_viewport_size({'width': 1280, 'height': 800})
    page.goto(serve(site) + page_of('02_embeddings.ipynb'))
    contrasts = page.evaluate(CONTRAST)
    assert len(contrasts) >= 5 and [c for c in contrasts if c[1] < 4.5] == []
    context.close()


@pytest.mark.browser
def test_formulas_have_the_font_that_is_shipped(browser, serve, site, pages):
    page = browser.new_page()
    with_formulas = [name for name, soup in pages.items() if soup.find('math')]
    assert with_formulas
    page.goto(serve(site) + with_formulas[0])
    page.evaluate('document.fonts.ready')
    page.wait_for_timeout(300)
    status = page.evaluate("[...document.fonts].filter(f => f.family.includes('Math')).map(f => f.status)")
    family = page.evaluate("getComputedStyle(document.querySelector('math')).fontFamily")
    assert status == ['loaded'] and family.startswith('"Lesson8 Math"')
    page.close()


@pytest.mark.browser
def test_what_is_not_there_has_a_page(browser, serve, site):
    "At any depth it is styled, says so, and leads back."
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    failed = []
    page.on('requestfailed', lambda r: failed.append(r.url))
    page.on('response', lambda r: r.status >= 400 and failed.append(r.url))
    address = serve(site)
    gone = address + 'no/such/page.html'
    page.goto(gone)
    assert failed == [gone] and 'not found' in page.locator('h1').inner_text().lower()
    assert page.locator('#quarto-sidebar a.sidebar-link').count() >= len(listed())
    page.locator('main p a, main li a').first.click()
    page.wait_for_url(address + 'index.html')
    page.close()


@pytest.mark.browser
def test_first_tab_skips_the_navigation(browser, serve, site):
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    page.goto(serve(site) + page_of('02_embeddings.ipynb'))
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.className') == 'skip-link'
    assert page.evaluate('document.activeElement.getBoundingClientRect().top') >= 0, 'it does not show'
    page.keyboard.press('Enter')
    page.keyboard.press('Tab')
    assert page.evaluate("!!document.activeElement.closest('main')")
    page.close()


@pytest.mark.browser
def test_map_of_the_lecture_sorts_and_searches(browser, serve, site):
    "By keyboard, as a table on a wide screen and as cards on a narrow one; nothing scrolls sideways."
    page = browser.new_page(viewport={'width': 1280, 'height': 800}, reduced_motion='reduce')
    page.goto(serve(site) + page_of('lesson_map.ipynb'))
    shown = lambda column: page.eval_on_selector_all(
        f'.lesson-map tbody tr:not([hidden]) td:nth-child({column})', 'all => all.map(e => e.innerText.trim())')
    order = lambda: page.eval_on_selector_all('.lesson-map th[aria-sort]',
                                              'all => all.map(e => e.getAttribute("aria-sort"))')
    whole = shown(1)
    assert len(whole) == 247 and (whole[0], whole[-1]) == ('0:03', '1:36:43')
    assert order() == ['ascending', 'none']
    for width in (1280, 390):
        page.set_viewport_size({'width': width, 'height': 800})
        button = page.locator('.lesson-map th button', has_text='question')
        button.focus()
        page.keyboard.press('Enter')
        assert order() == ['none', 'ascending'] and shown(2)[:3] == ['Q01', 'Q01', 'Q01']
        page.keyboard.press('Space')
        assert order() == ['none', 'descending'] and shown(2)[-3:] == ['Q01', 'Q01', 'Q01']
        page.locator('.lesson-map th button', has_text='when').press('Enter')
        assert shown(1) == whole
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        box = page.locator('.lesson-map .table-box')
        assert box.evaluate('e => e.scrollWidth - e.clientWidth') <= 1, width
    page.get_by_label('Look for').fill('anime')
    assert shown(1) == ['29:33'] and page.locator('.lesson-tools output').inner_text() == '1 of 247'
    page.get_by_label('Look for').fill('')
    page.get_by_label('Show').select_option('asks')
    assert len(shown(1)) == 58
    page.get_by_label('Show').select_option('differs')
    assert all(shown(5)) and len(shown(5)) > 20
    page.close()


@pytest.mark.browser
def test_light_and_dark(browser, serve, site):
    "The toggle changes the scheme, the choice stays, and text is legible either way."
    address = serve(site)
    page = browser.new_page(viewport={'width': 1280, 'height': 800}, color_scheme='light')
    page.goto(address)
    brightness = lambda: page.evaluate(BRIGHTNESS)
    for is_dark in (False, True):
        page.wait_for_timeout(300)
        assert (brightness() < 90) == is_dark
        contrasts = page.evaluate(CONTRAST)
        assert len(contrasts) >= 5 and [c for c in contrasts if c[1] < 4.5] == [], (
            f'too little contrast, {is_dark=}')
        if not is_dark: page.locator('.quarto-color-scheme-toggle').first.click()
    page.goto(address + page_of(listed()[1]))
    page.wait_for_timeout(300)
    assert brightness() < 90, 'the choice is lost on the next page'
    page.close()


# ---- the checks themselves see faults

GOOD = '''<!DOCTYPE html><html><head><title>t</title><link rel="icon" href="favicon.svg"/>
<link rel="stylesheet" href="s.css"/></head><body><main>
<h2 id="here">Here</h2><p><a href="#here">here</a> <a href="two.html#there">there</a>
<a href="https://example.com">foreign links are fine</a></p>
<details><summary>Answer</summary><p>yes</p></details>
<div style="overflow-x: auto"><div style="width: 3000px">wide, in a box that scrolls</div></div>
FAULT</main></body></html>'''


@pytest.fixture
def small_site(tmp_path):
    "A function that makes a site of two pages, with a fault in the first."
    def make(fault='', css='p { color: black }'):
        (tmp_path/'index.html').write_text(GOOD.replace('FAULT', fault))
        (tmp_path/'two.html').write_text(GOOD.replace('#here', '').replace('FAULT', '<p id="there">x</p>'))
        (tmp_path/'s.css').write_text(css)
        (tmp_path/'favicon.svg').write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
        return tmp_path
    return make


def findings(site):
    pages = read_pages(site)
    return broken_links(site, pages) + foreign_loads(site, pages) + unreadable(pages)


@pytest.mark.parametrize('fault, said', [
    ('<a href="nowhere.html">x</a>', 'nowhere.html leads nowhere'),
    ('<a href="#nowhere">x</a>', 'no such anchor'),
    ('<a href="two.html#nowhere">x</a>', 'no such anchor'),
    ('<a href="02_two.ipynb">x</a>', 'leads nowhere'),
    ('<script src="https://cdn.example.com/x.js"></script>', 'cdn.example.com'),
    ('<link rel="stylesheet" href="//cdn.example.com/x.css">', 'cdn.example.com'),
    ('<style>@import url("https://fonts.example.com/f");</style>', 'fonts.example.com'),
    ('<p style="background: url(https://example.com/b.png)">x</p>', 'example.com/b.png'),
    ('<script>import x from "https://cdn.example.com/x.js"</script>', 'cdn.example.com'),
    ('<script>fetch("https://example.com/count")</script>', 'example.com/count'),
    ('<img src="favicon.svg">', 'no alt text'),
    ('<img src="favicon.svg" alt=" ">', 'no alt text'),
    ('<img src="https://example.com/badge.svg" alt="badge">', 'example.com/badge.svg'),
    (r'<span class="math inline">\(x\)</span>', 'no MathML'),
    (r'<p>the sum \(x + y\) is</p>', 'left as'),
    ('<details><summary>Answer</summary></details><p>yes</p>', 'nothing to unfold'),
])
def test_checks_of_files_see(small_site, fault, said):
    assert findings(small_site()) == []
    assert any(said in f for f in findings(small_site(fault)))


def test_checks_of_stylesheets_see(small_site):
    assert any('fonts.example.com' in f
               for f in findings(small_site(css='@font-face { src: '
                                                'url(https://fonts.example.com/a.woff2) }')))


@pytest.mark.browser
def test_checks_in_the_browser_see(browser, serve, small_site):
    address = serve(small_site())
    assert visit(browser, address, ['index.html', 'two.html']) == []
    for fault, said in [
        ('<div style="width: 1000px">x</div>', '390 px: the page is'),
        ('<div style="width: 2000px">x</div>', '1280 px: the page is'),
        ('<div style="overflow: clip"><div style="width: 2000px">x</div></div>', 'reaches to'),
        ('<script>console.error("oh no")</script>', 'oh no'),
        ('<script>undefined_function()</script>', 'undefined_function'),
        ('<script>setTimeout(() => fetch("https://example.com/count"), 0)</script>',
         'asks for https://example.com/count'),
        ('<img src="missing.png" alt="x">', 'answers 404'),
    ]:
        small_site(fault)
        found = visit(browser, address, ['index.html'])
        assert any(said in f for f in found), (fault, found)


@pytest.mark.browser
def test_checks_of_barriers_see(browser, serve, small_site):
    address = serve(small_site())
    for fault, said in [
        ('<img src="favicon.svg">', 'image-alt'),
        ('<h3 style="color: #ccc; background: #fff">pale</h3>', 'color-contrast'),
        ('<style>@media (prefers-color-scheme: dark) { h3 { color: #444; background: #222 } }</style>'
         '<h3>pale</h3>', 'dark: color-contrast'),
        ('<input type="text">', 'label'),
        ('<style>body { background: #fff }</style>', 'does not follow a preference for dark'),
    ]:
        small_site(fault)
        found = visit(browser, address, ['index.html'], look=barriers)
        assert [f for f in found if BARRED in f and said in f], (fault, found)


# ---- tools/docs.py

QUARTO_PAGE = r'''<html><head>
<script src="https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js"></script>
<script src="https://cdnjs.cloudflare.com/ajax/libs/jquery/3.5.1/jquery.min.js"
 data-relocate-top="true"></script>
<script type="application/javascript">define('jquery', [],function() {return window.jQuery;})</script>
<script src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml-full.js"></script>
<link rel="preconnect" href="https://fonts.example.com">
<link rel="canonical" href="https://lesson8-course.github.io/lesson8/x.html">
<style>@import"https://fonts.example.com/css2?family=A:wght@300;400";p{color:red}</style>
<script src="site_libs/quarto-nav/quarto-nav.js"></script>
<script>window.document.addEventListener("DOMContentLoaded", () => { if (1 < 2 && true) {} });</script>
</head><body><main><p>As <span class="math inline">\(a &lt; b\)</span>:
<span class="math display">\[\begin{aligned} a &amp;= \lVert x \rVert_2 \end{aligned}\]</span></p>
<table class="dataframe"><tr><td>1</td></tr></table></main></body></html>'''


def test_polish_makes_a_page_self_contained():
    soup = BeautifulSoup(QUARTO_PAGE, 'html.parser')
    docs.polish(soup)
    text = str(soup)
    assert re.findall(r'https?://[^"\'<\s]+',
                      text.replace('http://www.w3.org/1998/Math/MathML',
                                   '')) == ['https://lesson8-course.github.io/lesson8/x.html']
    assert "define('jquery'" not in text and 'quarto-nav.js' in text and '1 < 2 && true' in text
    assert 'p{color:red}' in text
    assert [m.get('display') for m in soup.find_all('math')] == ['inline', 'block']
    assert not re.search(r'\\[a-z(\[]', text)
    assert soup.find('table').parent['class'] == ['table-box']
    assert unreadable({'x': soup}) == []


@pytest.mark.parametrize('tex', [r'\nosuchcommand{x}', r'\begin{pmatrix} 1 & 2'])
def test_formulas_that_cannot_be_read_are_refused(tex):
    with pytest.raises(docs.DocsError, match='MathML'): docs.formula(tex, False)


def test_accents_are_the_marks_of_the_font():
    assert docs.formula(r'\hat{r} + \bar{x}', False).get_text().replace(' ', '') == 'r\u0302+x\u203e'


@pytest.mark.parametrize('anchor, want', [
    ('The-initial-scale', 'the-initial-scale'), ('the-initial-scale', 'the-initial-scale'),
    ('Q05:-what-is-an-`Embedding`?', 'q05-what-is-an-embedding'), ('2.-Weights', 'weights'),
    ('create_params', 'create_params'), ('A---B', 'a---b')])
def test_anchors_as_jupyterlab_writes_them(anchor, want):
    from smalldocs.markdown import pandoc_id
    assert docs.slug(anchor) == want == pandoc_id(anchor.replace('-', ' ') if '---' not in anchor else anchor)


DOC = """---

[source](https://github.com/lesson8-course/lesson8/blob/main/lesson8/data.py#L1){target="_blank"}

### MovieLens

```python
def MovieLens(
    *args, **kwargs
):
```

*Start + i*step of the __main__.three tables.*"""
PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


EXPORTED = '#| code-fold: show\n#| code-summary: "Exported source"\n#| exports: true\n'
BADGE = '[![Open in Colab](colab.svg)](https://colab.research.google.com/github/x/y/blob/v1/02_sample.ipynb)'
BODY = """## Two

- one item
- another

| x | y |
|---|---|
| 1 | 2 |

### Three

1. first"""
QUESTION = """<details><summary>1. What does <code>f('a', *b, **c)</code> do?</summary>

It calls <code>g("x")</code>.
</details>"""


def code_cell(n, source, *outputs, **extra):
    return {'cell_type': 'code', 'id': f'cell{n}', 'execution_count': 1, 'source': source,
            'outputs': list(outputs), 'metadata': {'execution': {'iopub.execute_input': 'now'}}, **extra}


def markdown_cell(n, source):
    return {'cell_type': 'markdown', 'id': f'cell{n}', 'metadata': {}, 'source': source}


def shown_as(kind, data): return {'output_type': 'display_data', 'metadata': {}, 'data': {kind: data}}


SAMPLE = [
    {'cell_type': 'raw', 'id': 'cell0', 'metadata': {},
     'source': '---\ntitle: "A sample: of all"\noutput-file: sample.html\n---\n'},
    markdown_cell(1, BADGE + '\n\nFirst $\\hat{r}$.'),
    code_cell(2, EXPORTED + 'import math'),
    code_cell(3, '#| echo: false\n#| output: asis\nshow_doc(MovieLens)',
              shown_as('text/markdown', DOC), has_sd=True),
    code_cell(4, EXPORTED + 'def _helper(): return 1'),
    code_cell(5, EXPORTED + 'class MovieLens(NamedTuple):\n    ratings: int'),
    markdown_cell(6, BODY),
    code_cell(7, '#| code-fold: true\n#| code-summary: "Checks"\nassert 1 + 1 == 2\nprint("fine")',
              {'output_type': 'stream', 'name': 'stdout', 'text': 'fine\n'}),
    code_cell(8, '#| code-fold: true\n1 + 1'),
    code_cell(9, '#| fig-cap: "A dot."\n#| fig-alt: "One dot."\nplot()', shown_as('image/png', PIXEL)),
    markdown_cell(10, QUESTION),
]


@pytest.fixture(scope='session')
def sample(tmp_path_factory):
    "A page with one of everything, by the renderer that is on the PATH: (its folder, its soup)."
    folder = tmp_path_factory.mktemp('sample')
    config = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))
    config['website']['sidebar']['contents'] = ['index.ipynb', '02_sample.ipynb']
    (folder/'_quarto.yml').write_text(yaml.dump(config))
    files = 'styles.css colab.svg favicon.svg social.png 404.qmd fonts/stix-two-math.woff2'
    for name in files.split():
        (folder/name).parent.mkdir(exist_ok=True)
        (folder/name).write_bytes((ROOT/'nbs'/name).read_bytes())
    kernel = {'name': 'python3', 'language': 'python', 'display_name': 'Python'}
    shell = {'metadata': {'kernelspec': kernel}, 'nbformat': 4, 'nbformat_minor': 5}
    home = [markdown_cell(0, '# Home\n\nSee [the sample](02_sample.ipynb).')]
    for name, cells in (('02_sample', SAMPLE), ('index', home)):
        (folder/f'{name}.ipynb').write_text(json.dumps({**shell, 'cells': cells}))
    names = docs.name_as_pages(folder)
    docs.finish(folder/'_docs', docs.render(folder)[0], names)
    return folder/'_docs', read_pages(folder/'_docs')['sample.html']


def test_sample_sources_and_checks_fold(sample):
    soup = sample[1]
    folds = {d.find('summary').get_text().strip(): d for d in soup.select('main details.code-fold')}
    assert list(folds) == ['Source', 'Checks', 'Code'] and not any(d.has_attr('open') for d in folds.values())
    assert re.sub(r'\n+', '\n', folds['Source'].find('pre').get_text()).splitlines() == \
        ['import math', 'def _helper(): return 1', 'class MovieLens(NamedTuple):', '    ratings: int']
    said = next(t for t in soup.select('main .cell-output pre') if t.get_text().strip() == 'fine')
    assert 'assert 1 + 1 == 2' in folds['Checks'].get_text()
    assert not said.find_parent('details'), 'what checks print is not folded'
    assert 'Exported source' not in soup.get_text()


def test_sample_documentation(sample):
    soup = sample[1]
    pre = next(t for t in entry(soup, 'MovieLens') if t.name == 'pre').get_text()
    assert re.match(r'class MovieLens\(\n    ratings:pd\.DataFrame, # 100,000 rows', pre.strip())
    assert '*args' not in pre
    assert 'MovieLens' in [a.get_text().strip() for a in soup.select('#TOC a')]
    text = soup.main.get_text()
    assert 'Start + i*step of the three tables.' in text and '__main__' not in text


def test_sample_markdown(sample):
    soup = sample[1]
    assert plain(soup.find('h1').get_text()) == '02 A sample: of all'
    assert [h.get_text().strip() for h in soup.select('main :is(h2, h3)')] == ['MovieLens', 'Two', 'Three']
    assert [li.get_text().strip() for li in items_of(soup.main)] == ['one item', 'another', 'first']
    assert len(soup.main.find_all('table')) == 1
    assert soup.main.table.find_parent(class_='table-box')['tabindex'] == '0'
    summary = soup.select_one('main details:not(.code-fold) > summary')
    assert summary.get_text().strip() == "1. What does f('a', *b, **c) do?"
    assert not summary.find(['ol', 'p', 'em'])
    code = soup.select('main details:not(.code-fold) code')
    assert [c.get_text() for c in code] == ["f('a', *b, **c)", 'g("x")']
    badge = soup.find('img', src=re.compile('colab'))
    assert badge['alt'] == 'Open in Colab' and badge.parent.name == 'a' and not badge.find_parent('figure')


def test_sample_picture_and_files(sample):
    folder, soup = sample
    img = soup.find('img', alt='One dot.')
    assert img['src'].endswith('.webp') and (folder/img['src']).read_bytes()[8:12] == b'WEBP'
    assert soup.find('figcaption').get_text().strip() == 'A dot.' and (folder/'404.html').is_file()
    assert soup.find('math') and not soup.find('annotation')
    found = json.loads((folder/'search.json').read_text())
    assert [e['section'] for e in found if e['href'] == 'sample.html#movielens'] == ['MovieLens']
    assert unreadable({'sample.html': soup}) == [] and broken_links(folder, {'sample.html': soup}) == []


MODULE = """class A(NamedTuple):
    "Fields."
    x: int  # first, in words
    # that go on
    y: tuple = (1, 2)

class B(Tensor):
    def __new__(cls,
        data: Tensor,  # the values
        grad=True,  # whether
    ): pass

class C(OSError): "An error."
class D(ValueError):
    def __init__(self, why): pass
class E: pass
"""


def test_signatures_of_classes_that_python_cannot_read(tmp_path):
    (tmp_path/'m.py').write_text(MODULE)
    found = docs.signatures(tmp_path)
    assert found.pop('A') == 'class A(\n    x:int, # first, in words that go on\n    y:tuple=(1, 2),\n)'
    assert found.pop('B') == 'class B(\n    data:Tensor, # the values\n    grad=True, # whether\n)'
    assert found == {'C': 'class C(OSError)', 'D': None, 'E': None}


CSS = """/* a {note} */@charset "utf-8";.used>p:not(.gone),.gone{color:red}#gone{x:y}
@media print{.gone{a:b}.used:hover{c:d}}@media screen{.gone{a:b}}@font-face{font-family:"x"}
.used::before{content:"}{;"}b[data-x=".y"],table.gone{e:f}.a\\:b{g:h}"""


def test_styles_that_are_not_used_go():
    assert slim.prune(CSS, {'used', 'p', 'b'}) == (
        '@charset "utf-8";.used>p:not(.gone){color:red}@media print{.used:hover{c:d}}'
        '@font-face{font-family:"x"}.used::before{content:"}{;"}b[data-x=".y"]{e:f}')


def tiny_project(folder, names):
    for name, text in names.items():
        cells = [{'cell_type': 'markdown', 'id': 'a', 'metadata': {}, 'source': text}]
        (folder/name).write_text(json.dumps({'cells': cells, 'metadata': {}, 'nbformat': 4,
                                             'nbformat_minor': 5}))
    site = {'title': 't', 'sidebar': {'contents': list(names)}}
    (folder/'_quarto.yml').write_text(yaml.dump({'project': {'type': 'website', 'output-dir': '_docs'},
                                                 'website': site}))
    return folder


def test_notebooks_are_named_as_their_pages(tmp_path):
    text = ('See [two](02_Two.ipynb#A-Heading), [a file](other.ipynb), `02_Two.ipynb` and <a '
            'href="02_Two.ipynb">two</a>.')
    names = docs.name_as_pages(tiny_project(tmp_path, {'index.ipynb': text, '02_Two.ipynb': '## A Heading'}))
    assert names == {'index.ipynb': 'index.ipynb', 'two.ipynb': '02_Two.ipynb'}
    assert docs.sidebar(tmp_path/'_quarto.yml') == ['index.ipynb', 'two.ipynb']
    said = json.loads((tmp_path/'index.ipynb').read_text())['cells'][0]['source']
    want = text.replace('](02_Two.ipynb#A-Heading)', '](two.html#a-heading)')
    assert said == [want.replace('"02_Two.ipynb"', '"two.html"')]


def test_two_notebooks_for_one_page_are_refused(tmp_path):
    project = tiny_project(tmp_path, {'02_two.ipynb': 'x', '03_two.ipynb': 'y'})
    with pytest.raises(docs.DocsError, match='would share the page two.html'): docs.name_as_pages(project)


def test_executed_copies_take_the_place_of_saved_ones(tmp_path):
    run, stage = tmp_path/'run', tmp_path/'stage'
    run.mkdir(); stage.mkdir()
    (run/listed()[1]).write_text('executed')
    (run/'notes.txt').write_text('left behind by a notebook')
    docs.gather(run, stage)
    assert (stage/'nbs'/listed()[1]).read_text() == 'executed' and not (stage/'nbs/notes.txt').exists()
    assert (stage/'nbs'/listed()[-1]).read_bytes() == (ROOT/'nbs'/listed()[-1]).read_bytes()
    assert (stage/'nbs/_quarto.yml').read_bytes() == (ROOT/'_quarto.yml').read_bytes()
    assert (stage/'nbs/styles.css').is_file()


def test_links_to_names_stay_on_this_copy_of_the_site():
    "nbdev links names to the published site; a method is documented with its class, a private name nowhere."
    home = 'https://lesson8-course.github.io/lesson8'
    links = ''.join(f'<a href="{home}/a.html#{i}"><code>{i}</code></a>'
                    for i in ('dot', 'dot.forward', '_private'))
    soup = BeautifulSoup(links
                         + f'<a href="{home}/">home</a><a '
                           f'href="https://github.com/o/r/blob/main/nbs/two.ipynb">source</a>', 'html.parser')
    docs.relink(soup, 'more/b.html', {'two.ipynb': '02_two.ipynb'}, home, {'a.html': {'dot'}})
    assert [a['href'] for a in soup.find_all('a')] == ['../a.html#dot', '../a.html#dot', '../index.html',
                                                       'https://github.com/o/r/blob/main/nbs/02_two.ipynb']
    assert [c.get_text() for c in soup.find_all('code')] == ['dot', 'dot.forward', '_private']


def test_quarto_is_used_where_it_is(tmp_path, monkeypatch):
    """A stand-in named quarto on PATH is called in the folder of the processed notebooks; its failure is
    reported in its words."""
    tool = tmp_path/'bin/quarto'
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo 9.8.7;;\nrender) [ -f two.ipynb ] || { echo "no two" >&2; '
        'exit 3; }\n'
                    'mkdir _docs; echo "<main>by quarto</main>" > _docs/two.html;;\nesac\n')
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tool.parent}:/usr/bin:/bin')
    (tmp_path/'p').mkdir()
    pages = tiny_project(tmp_path/'p', {'two.ipynb': 'x'})
    assert docs.render(pages) == ('Quarto 9.8.7', []) and 'by quarto' in (pages/'_docs/two.html').read_text()
    (pages/'two.ipynb').unlink()
    with pytest.raises(docs.DocsError, match='Quarto stopped: no two'): docs.render(pages)


@pytest.mark.parametrize('nbs, out, said', [('nowhere', 'site', 'is not a folder'),
                                            ('nbs', 'full', 'holds something that is not a rendered site')])
def test_docs_says_what_is_wrong(tmp_path, capsys, nbs, out, said):
    (tmp_path/'nbs').mkdir()
    (tmp_path/'full').mkdir()
    (tmp_path/'full/thesis.txt').write_text('keep me')
    assert docs.main(['--nbs', str(tmp_path/nbs), '--out', str(tmp_path/out)]) == 1
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
    assert (tmp_path/'full/thesis.txt').read_text() == 'keep me'
