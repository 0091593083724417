"""The rendered site, by Quarto or by smalldocs: links, pictures, nothing foreign, and what a browser makes of it.

`pytest tests/test_site.py --site _docs` looks at a site that is there; without --site one is rendered from nbs/.
"""
import functools, http.server, json, re, subprocess, sys, threading
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest, yaml
from bs4 import BeautifulSoup

import docs
from conftest import ROOT, chromium

WIDTHS = 390, 1280
FOREIGN = re.compile(r'\s*(https?:)?//', re.I)
LOADS = {'script': ['src'], 'link': ['href'], 'img': ['src', 'srcset'], 'source': ['src', 'srcset'], 'iframe': ['src'], 'video': ['src', 'poster'],
         'audio': ['src'], 'embed': ['src'], 'object': ['data'], 'track': ['src'], 'input': ['src'], 'image': ['href']}
CSS_LOAD = re.compile(r'''(?:@import\s*["']?|url\(\s*["']?)\s*(?:https?:)?//[^\s"')]+''', re.I)
JS_LOAD = re.compile(r'''(?:\bimport\b|\bfrom\b|\bfetch\s*\(|\bimportScripts\s*\(|\bsrc\s*=)[\s("'`]*(?:https?:)?//[^\s"'`)]+''', re.I)


# ---- the sites

@pytest.fixture(scope='session')
def site(request, tmp_path_factory):
    given = request.config.getoption('--site')
    if given:
        assert (Path(given)/'index.html').is_file(), f'--site {given} holds no index.html: render the site first (make docs)'
        return Path(given).resolve()
    out = tmp_path_factory.mktemp('site')/'_docs'
    done = subprocess.run([sys.executable, ROOT/'tools/docs.py', '--out', out], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='session')
def pages(site): return read_pages(site)


@pytest.fixture(scope='session')
def browser():
    program = chromium()
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=program, args=['--no-sandbox'])
        yield b
        b.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture
def serve():
    "A function that serves a folder and returns its address."
    running = []
    def start(folder):
        running.append(http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder)))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{running[-1].server_port}/'
    yield start
    for server in running: server.shutdown(); server.server_close()


# ---- what can be seen in the files; each check returns its findings

def read_pages(site):
    "The pages of a site, parsed: {path: soup}."
    return {f.relative_to(site).as_posix(): BeautifulSoup(f.read_text(encoding='utf-8'), 'html.parser') for f in sorted(site.rglob('*.html'))}


def broken_links(site, pages):
    "References to a file or an anchor that is not there."
    ids = {p: {t['id'] for t in soup.find_all(id=True)} | {t['name'] for t in soup.find_all('a', attrs={'name': True})} for p, soup in pages.items()}
    found = []
    def look(page, ref):
        if not ref or urlsplit(ref).scheme or ref.startswith('//'): return
        path, _, anchor = urljoin(f'/{page}', ref).partition('#')
        path = unquote(path.partition('?')[0]).lstrip('/')
        if path == '' or path.endswith('/'): path += 'index.html'
        if not (site/path).is_file(): found.append(f'{page}: {ref} leads nowhere')
        elif anchor and path in ids and unquote(anchor) not in ids[path]: found.append(f'{page}: {ref} has no such anchor')
    for page, soup in pages.items():
        for tag in soup.find_all(True):
            for key in [*LOADS.get(tag.name, []), *(['href'] if tag.name in ('a', 'area') else [])]:
                if key != 'srcset': look(page, tag.get(key))
    index = site/'search.json'
    for entry in json.loads(index.read_text(encoding='utf-8')) if index.is_file() else (): look('search.json', entry['href'])
    return found


def foreign_loads(site, pages):
    "Scripts, styles, pictures and fonts from another host, in pages and stylesheets."
    found = []
    for page, soup in pages.items():
        for tag in soup.find_all(list(LOADS)):
            if tag.name == 'link' and 'canonical' in tag.get('rel', []): continue
            found += [f'{page}: <{tag.name}> loads {tag[k]}' for k in LOADS[tag.name] if FOREIGN.match(tag.get(k) or '')]
        for tag in soup.find_all('script', src=False): found += [f'{page}: a script has {m}' for m in JS_LOAD.findall(tag.string or '')]
        for tag in soup.find_all('style'): found += [f'{page}: a style has {m}' for m in CSS_LOAD.findall(tag.string or '')]
        for tag in soup.find_all(style=True): found += [f'{page}: a style has {m}' for m in CSS_LOAD.findall(tag['style'])]
    for f in site.rglob('*.css'): found += [f'{f.name}: {m}' for m in CSS_LOAD.findall(f.read_text(encoding='utf-8'))]
    return found


def unreadable(pages):
    "Pictures without alt text, formulas left in LaTeX, answers that do not fold."
    found = []
    for page, soup in pages.items():
        found += [f"{page}: the picture {img.get('src', '')[:40]} has no alt text" for img in soup.find_all('img') if not (img.get('alt') or '').strip()]
        found += [f'{page}: the formula {m.get_text()!r} is no MathML' for m in soup.select('span.math') if not m.find('math')]
        for text in (soup.main or soup).find_all(string=re.compile(r'\\\(|\\\[|\$\$')):
            if not text.find_parent(['code', 'pre', 'script', 'style', 'math']): found.append(f'{page}: a formula is left as {str(text).strip()[:60]!r}')
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
        form = rf'Rendered by (Quarto|smalldocs) \d+(\.\d+)+ from lesson8 {re.escape(number)} on \d+ \w+ \d{{4}}$'
        assert len(said) == 1 and re.match(form, said[0]), (page, said)


def test_favicon(site, pages):
    for page, soup in pages.items():
        icons = [tag['href'] for tag in soup.find_all('link', rel='icon')]
        assert icons and (site/page).parent.joinpath(icons[0]).resolve().read_text().lstrip().startswith('<svg'), page


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
        shown = [a['href'].removeprefix('./').split('#')[0] for a in soup.select('#quarto-sidebar .sidebar-menu-container a.sidebar-link[href]')]
        assert [h or page for h in shown] == [page_of(p) for p in listed()], page


def test_config_is_found_by_nbdev_and_agrees_with_settings():
    assert (ROOT/'nbs/_quarto.yml').read_text() == (ROOT/'_quarto.yml').read_text()
    site = yaml.safe_load((ROOT/'_quarto.yml').read_text())['website']
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT/'settings.ini')
    s = settings['DEFAULT']
    assert site['site-url'] == s['doc_host'] + s['doc_baseurl']
    assert site['repo-url'] == f"https://github.com/{s['user']}/{s['repo']}" and site['repo-branch'] == s['branch']
    assert site['description'] == s['description']


def test_exported_names_are_documented(pages):
    "Each public name has its heading on its page, a signature beneath it, and a link to its line of source."
    import ast
    missing, checked = [], 0
    for nb in notebooks():
        soup, module = pages[page_of(nb)], ROOT/'lesson8'/Path(page_of(nb)).with_suffix('.py')
        if not module.is_file(): continue
        tree = ast.parse(module.read_text(encoding='utf-8'))
        exported = next((ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == '__all__'), [])
        lines = {n.name: n.lineno for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name in exported}
        for name, line in lines.items():
            checked += 1
            heading = next((h for h in soup.find_all(['h2', 'h3', 'h4']) if h.get_text().strip() == name), None)
            code = heading and heading.find_next('pre')
            if not code or not re.match(rf'(def|class) {name}\b', code.get_text().strip()):
                missing.append(f'{name}: no signature under the first heading of that name on {page_of(nb)}')
                continue
            if '__main__' in code.get_text(): missing.append(f'{name}: __main__ in its signature')
            here = f'https://github.com/lesson8-course/lesson8/blob/main/lesson8/{module.name}#L{line}'
            if not soup.find('a', href=here): missing.append(f'{name}: no link to {here}')
    assert missing == [] and checked > 0


def test_source_links_name_the_notebooks(pages):
    for nb in notebooks():
        link = pages[page_of(nb)].find('a', href=re.compile(r'/blob/main/nbs/'))
        assert link and link['href'] == f'https://github.com/lesson8-course/lesson8/blob/main/nbs/{nb}'


def plain(text):
    "Text without what a renderer may set in its own way: typographic quotes, spaces, marks of emphasis."
    for old, new in [('‘', "'"), ('’', "'"), ('“', '"'), ('”', '"'), ('…', '...'), ('`', ''), ('*', '')]: text = text.replace(old, new)
    return ' '.join(text.split())


def test_captions_and_alt_texts_come_out(pages):
    "What a cell says with `#| fig-cap` and `#| fig-alt` stands on its page."
    checked = 0
    for nb in notebooks():
        soup = pages[page_of(nb)]
        for cell in json.loads((ROOT/'nbs'/nb).read_text(encoding='utf-8'))['cells']:
            source = ''.join(cell['source'])
            has_picture = any(m.startswith('image/') for o in cell.get('outputs', []) for m in o.get('data', {}))
            if cell['cell_type'] != 'code' or not has_picture: continue
            said = {k: yaml.safe_load(v) for k, v in re.findall(r'^#\|\s*(fig-cap|fig-alt):\s*(.+)$', source, re.M)}
            assert set(said) == {'fig-cap', 'fig-alt'}, f'{nb}: a picture needs #| fig-cap and #| fig-alt:\n{source[:200]}'
            assert soup.find('img', alt=said['fig-alt']), (nb, said)
            assert plain(said['fig-cap']) in [plain(c.get_text()) for c in soup.find_all('figcaption')], (nb, said)
            checked += 1
    assert checked > 0


# ---- what a browser makes of it

OVERFLOW = '''() => {
  const wide = innerWidth + 1, found = [];
  if (document.documentElement.scrollWidth > wide) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  const scrolls = e => { for (; e && e.tagName !== 'MAIN'; e = e.parentElement) if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return true; };
  for (const e of document.querySelectorAll('main *')) {
    const r = e.getBoundingClientRect();
    if (r.width && r.right > wide && !scrolls(e) && getComputedStyle(e).position !== 'absolute')
      { found.push(`<${e.tagName.toLowerCase()} class="${e.className}"> reaches to ${Math.round(r.right)} px`); break; }
  }
  for (const i of document.images) if (i.complete && !i.naturalWidth) found.push(`the picture ${i.src.slice(0, 60)} does not show`);
  return found;
}'''
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


def visit(browser, address, names, widths=WIDTHS):
    "Open pages at the given widths; return what went wrong: errors, requests to other hosts, missing files, overflow."
    found = []
    page = browser.new_page(viewport={'width': widths[0], 'height': 800})
    now = ''
    page.on('console', lambda m: m.type == 'error' and found.append(f'{now}: the console says {m.text}'))
    page.on('pageerror', lambda e: found.append(f'{now}: {e}'))
    page.on('response', lambda r: r.status >= 400 and found.append(f'{now}: {r.url} answers {r.status}'))
    def route(r):
        if r.request.url.startswith((address, 'data:', 'blob:')): return r.continue_()
        found.append(f'{now}: asks for {r.request.url}')
        r.abort()
    page.route('**/*', route)
    for now in names:
        page.goto(address + now, wait_until='load')
        for width in widths:
            page.set_viewport_size({'width': width, 'height': 800})
            found += [f'{now} at {width} px: {o}' for o in page.evaluate(OVERFLOW)]
        page.set_viewport_size({'width': widths[0], 'height': 800})
    page.close()
    return found


@pytest.mark.browser
def test_pages_open_without_faults(browser, serve, site, pages): assert visit(browser, serve(site), list(pages)) == []


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
def test_light_and_dark(browser, serve, site):
    "The toggle changes the scheme, the choice stays, and text is legible either way."
    address = serve(site)
    page = browser.new_page(viewport={'width': 1280, 'height': 800}, color_scheme='light')
    page.goto(address)
    brightness = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3")
    for is_dark in (False, True):
        page.wait_for_timeout(300)
        assert (brightness() < 90) == is_dark
        contrasts = page.evaluate(CONTRAST)
        assert len(contrasts) >= 5 and [c for c in contrasts if c[1] < 4.5] == [], f'too little contrast, {is_dark=}'
        if not is_dark: page.locator('.quarto-color-scheme-toggle').first.click()
    page.goto(address + page_of(listed()[1]))
    page.wait_for_timeout(300)
    assert brightness() < 90, 'the choice is lost on the next page'
    page.close()


# ---- the checks themselves see faults

GOOD = '''<!DOCTYPE html><html><head><title>t</title><link rel="icon" href="favicon.svg"/><link rel="stylesheet" href="s.css"/></head><body><main>
<h2 id="here">Here</h2><p><a href="#here">here</a> <a href="two.html#there">there</a> <a href="https://example.com">foreign links are fine</a></p>
<details><summary>Answer</summary><p>yes</p></details><div style="overflow-x: auto"><div style="width: 3000px">wide, in a box that scrolls</div></div>
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
    assert any('fonts.example.com' in f for f in findings(small_site(css='@font-face { src: url(https://fonts.example.com/a.woff2) }')))


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
        ('<script>setTimeout(() => fetch("https://example.com/count"), 0)</script>', 'asks for https://example.com/count'),
        ('<img src="missing.png" alt="x">', 'answers 404'),
    ]:
        small_site(fault)
        found = visit(browser, address, ['index.html'])
        assert any(said in f for f in found), (fault, found)


# ---- tools/docs.py

QUARTO_PAGE = r'''<html><head><script src="https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js"></script>
<script src="https://cdnjs.cloudflare.com/ajax/libs/jquery/3.5.1/jquery.min.js" data-relocate-top="true"></script>
<script type="application/javascript">define('jquery', [],function() {return window.jQuery;})</script>
<script src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml-full.js"></script><link rel="preconnect" href="https://fonts.example.com">
<link rel="canonical" href="https://lesson8-course.github.io/lesson8/x.html"><style>@import"https://fonts.example.com/css2?family=A:wght@300;400";p{color:red}</style>
<script src="site_libs/quarto-nav/quarto-nav.js"></script><script>window.document.addEventListener("DOMContentLoaded", () => { if (1 < 2 && true) {} });</script>
</head><body><main><p>As <span class="math inline">\(a &lt; b\)</span>: <span class="math display">\[\begin{aligned} a &amp;= \lVert x \rVert_2 \end{aligned}\]</span></p>
<table class="dataframe"><tr><td>1</td></tr></table></main></body></html>'''


def test_polish_makes_a_page_self_contained():
    soup = BeautifulSoup(QUARTO_PAGE, 'html.parser')
    docs.polish(soup)
    text = str(soup)
    assert re.findall(r'https?://[^"\'<\s]+', text.replace('http://www.w3.org/1998/Math/MathML', '')) == ['https://lesson8-course.github.io/lesson8/x.html']
    assert "define('jquery'" not in text and 'quarto-nav.js' in text and '1 < 2 && true' in text and 'p{color:red}' in text
    assert [m.get('display') for m in soup.find_all('math')] == ['inline', 'block'] and not re.search(r'\\[a-z(\[]', text)
    assert soup.find('table').parent['class'] == ['table-box']
    assert unreadable({'x': soup}) == []


@pytest.mark.parametrize('tex', [r'\nosuchcommand{x}', r'\begin{pmatrix} 1 & 2'])
def test_formulas_that_cannot_be_read_are_refused(tex):
    with pytest.raises(docs.DocsError, match='MathML'): docs.formula(tex, False)


@pytest.mark.parametrize('anchor, want', [
    ('The-initial-scale', 'the-initial-scale'), ('the-initial-scale', 'the-initial-scale'),
    ('Q05:-what-is-an-`Embedding`?', 'q05-what-is-an-embedding'), ('2.-Weights', 'weights'),
    ('create_params', 'create_params'), ('A---B', 'a---b')])
def test_anchors_as_jupyterlab_writes_them(anchor, want):
    from smalldocs.markdown import pandoc_id
    assert docs.slug(anchor) == want == pandoc_id(anchor.replace('-', ' ') if '---' not in anchor else anchor)


def tiny_project(folder, names):
    for name, text in names.items():
        cells = [{'cell_type': 'markdown', 'id': 'a', 'metadata': {}, 'source': text}]
        (folder/name).write_text(json.dumps({'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}))
    site = {'title': 't', 'sidebar': {'contents': list(names)}}
    (folder/'_quarto.yml').write_text(yaml.dump({'project': {'type': 'website', 'output-dir': '_docs'}, 'website': site}))
    return folder


def test_notebooks_are_named_as_their_pages(tmp_path):
    text = 'See [two](02_Two.ipynb#A-Heading), [a file](other.ipynb), `02_Two.ipynb` and <a href="02_Two.ipynb">two</a>.'
    names = docs.name_as_pages(tiny_project(tmp_path, {'index.ipynb': text, '02_Two.ipynb': '## A Heading'}))
    assert names == {'index.ipynb': 'index.ipynb', 'two.ipynb': '02_Two.ipynb'} and docs.sidebar(tmp_path/'_quarto.yml') == ['index.ipynb', 'two.ipynb']
    said = json.loads((tmp_path/'index.ipynb').read_text())['cells'][0]['source']
    assert said == 'See [two](two.html#a-heading), [a file](other.ipynb), `02_Two.ipynb` and <a href="two.html">two</a>.'


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
    assert (stage/'nbs/_quarto.yml').read_bytes() == (ROOT/'_quarto.yml').read_bytes() and (stage/'nbs/styles.css').is_file()


def test_links_to_names_stay_on_this_copy_of_the_site():
    "nbdev links names to the published site; a method is documented with its class, a private name nowhere."
    home = 'https://lesson8-course.github.io/lesson8'
    links = ''.join(f'<a href="{home}/a.html#{i}"><code>{i}</code></a>' for i in ('dot', 'dot.forward', '_private'))
    soup = BeautifulSoup(links + f'<a href="{home}/">home</a><a href="https://github.com/o/r/blob/main/nbs/two.ipynb">source</a>', 'html.parser')
    docs.relink(soup, 'more/b.html', {'two.ipynb': '02_two.ipynb'}, home, {'a.html': {'dot'}})
    assert [a['href'] for a in soup.find_all('a')] == ['../a.html#dot', '../a.html#dot', '../index.html', 'https://github.com/o/r/blob/main/nbs/02_two.ipynb']
    assert [c.get_text() for c in soup.find_all('code')] == ['dot', 'dot.forward', '_private']


def test_quarto_is_used_where_it_is(tmp_path, monkeypatch):
    "A stand-in named quarto on PATH is called in the folder of the processed notebooks; its failure is reported in its words."
    tool = tmp_path/'bin/quarto'
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\ncase "$1" in --version) echo 9.8.7;;\nrender) [ -f two.ipynb ] || { echo "no two" >&2; exit 3; }\n'
                    'mkdir _docs; echo "<main>by quarto</main>" > _docs/two.html;;\nesac\n')
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tool.parent}:/usr/bin:/bin')
    (tmp_path/'p').mkdir()
    pages = tiny_project(tmp_path/'p', {'two.ipynb': 'x'})
    assert docs.render(pages) == ('Quarto 9.8.7', []) and 'by quarto' in (pages/'_docs/two.html').read_text()
    (pages/'two.ipynb').unlink()
    with pytest.raises(docs.DocsError, match='Quarto stopped: no two'): docs.render(pages)


@pytest.mark.parametrize('nbs, out, said', [('nowhere', 'site', 'is not a folder'), ('nbs', 'full', 'holds something that is not a rendered site')])
def test_docs_says_what_is_wrong(tmp_path, capsys, nbs, out, said):
    (tmp_path/'nbs').mkdir()
    (tmp_path/'full').mkdir()
    (tmp_path/'full/thesis.txt').write_text('keep me')
    assert docs.main(['--nbs', str(tmp_path/nbs), '--out', str(tmp_path/out)]) == 1
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1 and (tmp_path/'full/thesis.txt').read_text() == 'keep me'
