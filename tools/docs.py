"""Render the notebooks into the site, with Quarto where it is installed and otherwise with smalldocs.

    python tools/docs.py [--nbs _run/nbs] [--out _docs]

The pages are nbs/ as it stands; a notebook that --nbs holds too (an executed copy) takes the place of the saved one.
Both renderers get the same processed notebooks, named as their pages are (02_embeddings.ipynb becomes
embeddings.html), and `polish` goes over what either of them wrote. All work happens in a temporary folder, so
nothing but --out changes, and --out only when everything went well.
"""
import argparse, contextlib, datetime, json, os, re, shutil, subprocess, sys, tempfile, time
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

import yaml
from bs4 import BeautifulSoup
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = re.compile(r'\s*(https?:)?//', re.I)
AMD = re.compile(r"\s*(define|require|requirejs)\s*[.(]")  # what is left of require.js when its file is gone
CSS_FOREIGN = re.compile(r'''@import\s*(?:url\(\s*["']?(?:https?:)?//[^)]*\)|["'](?:https?:)?//[^"']*["'])[^;]*;?''', re.I)
LINK = re.compile(r'''(?P<start>\]\(|href=["'])(?P<folder>(?:[\w.-]+/)*)(?P<name>[\w.-]+\.ipynb)(?P<anchor>#[^)\s"']*)?''')
# Meant for Quarto alone: smalldocs needs no word on them, and says so each time.
EXPECTED = re.compile(r'(output-file|html-math-method|respect-user-color-scheme) is (not read|ignored)')


class DocsError(Exception): "The site cannot be rendered; the message is one sentence."


def slug(anchor):
    "A heading's anchor as both renderers write it; JupyterLab keeps the capitals and the punctuation."
    kept = re.sub(r'[^\w\s.-]', '', unquote(anchor).lower())
    return re.sub(r'^[^a-z]+', '', '-'.join(kept.split())) or 'section'


def gather(nbs, stage):
    "Put together in `stage`/nbs what the site is made of; nbdev finds its settings beside it."
    shutil.copy(ROOT/'pyproject.toml', stage)
    tracked = ROOT/'nbs'
    for src, pattern in ((tracked, '*'), (nbs, '*.ipynb')):
        for f in sorted(src.rglob(pattern)):
            rel = f.relative_to(src)
            if not f.is_file() or any(p[0] in '._' or p == '__pycache__' for p in rel.parts): continue
            (stage/'nbs'/rel).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(f, stage/'nbs'/rel)
    shutil.copy(ROOT/'_quarto.yml', stage/'nbs')
    missing = [p for p in sidebar(ROOT/'_quarto.yml') if not (stage/'nbs'/p).is_file()]
    if missing: raise DocsError(f"the sidebar in _quarto.yml lists {missing[0]}, which is not in {tracked}: write it or take the line out")


def sidebar(config):
    "The pages that `_quarto.yml` lists, in order."
    def pages(entries):
        for e in entries:
            if isinstance(e, dict): yield from pages([e.get('href', '')] + e.get('contents', []))
            elif e and '://' not in e: yield e
    return list(pages(yaml.safe_load(Path(config).read_text(encoding='utf-8'))['website']['sidebar']['contents']))


def process(stage):
    "Let nbdev add the API documentation and drop what readers need not see; return the folder it wrote."
    from nbdev.serve import proc_nbs
    try:
        with contextlib.chdir(ROOT): return proc_nbs(str(stage/'nbs'), force=True)  # its workers look for the settings in the current folder
    except Exception as e:
        said = str(e).strip().splitlines() or [type(e).__name__]
        raise DocsError(f"nbdev cannot process the notebooks: {' '.join(dict.fromkeys([said[0].strip(' :'), said[-1]]))} "
                        '(it runs each cell that imports: keep imports in cells of their own)') from e


def name_as_pages(pages):
    "Rename the processed notebooks in folder `pages` to what their pages are called, links and sidebar with them; return {new: old}."
    from nbdev.config import nbpath2html
    new = {f: nbpath2html(f).with_suffix('.ipynb') for f in sorted(pages.rglob('*.ipynb'))}
    twins = [f for f in new if list(new.values()).count(new[f]) > 1]
    if twins: raise DocsError(f'{twins[0].name} and {twins[1].name} would share the page {nbpath2html(twins[0]).name}: rename one of them')
    names = {f.name: g.name for f, g in new.items()}
    def to_page(m):
        if m['name'] not in names: return m[0]
        anchor = '#' + slug(m['anchor'][1:]) if m['anchor'] else ''
        return m['start'] + m['folder'] + Path(names[m['name']]).stem + '.html' + anchor
    for f, g in new.items():
        nb = json.loads(f.read_text(encoding='utf-8'))
        if not nb['metadata'].get('widgets', {}).get('application/vnd.jupyter.widget-state+json', {}).get('state'):
            nb['metadata'].pop('widgets', None)  # nbdev adds an empty one, for which Quarto would load a widget manager
        for c in nb['cells']:
            if c['cell_type'] == 'markdown': c['source'] = LINK.sub(to_page, ''.join(c['source']))
            for data in [o.get('data', {}) for o in c.get('outputs', [])]:
                for mime in {'text/markdown', 'text/html'} & set(data):
                    data[mime] = LINK.sub(to_page, ''.join(data[mime]))
                    if c.get('has_sd'): data[mime] = data[mime].replace('__main__.', '')  # where nbdev ran the definition
        f.unlink()
        g.write_text(json.dumps(nb, ensure_ascii=False), encoding='utf-8')
    config = pages/'_quarto.yml'
    config.write_text(re.sub(r'[\w.-]+\.ipynb', lambda m: names.get(m[0], m[0]), config.read_text(encoding='utf-8')), encoding='utf-8')
    return {g.name: f.name for f, g in new.items()}


def render(pages):
    "Render folder `pages` into `pages`/_docs; return the renderer's name and version, and its warnings."
    if shutil.which('quarto'):
        done = subprocess.run(['quarto', 'render'], cwd=pages, capture_output=True, text=True)
        if done.returncode: raise DocsError(f'Quarto stopped: {(done.stderr or done.stdout).strip()[-800:]}')
        number = subprocess.run(['quarto', '--version'], capture_output=True, text=True, check=True).stdout.strip()
        return f'Quarto {number}', [l for l in done.stderr.splitlines() if 'WARN' in l]
    from smalldocs.config import BuildError, ConfigError
    from smalldocs.site import build
    try: site = build(pages, quiet=True)
    except (BuildError, ConfigError) as e: raise DocsError(f'smalldocs stopped: {e}') from e
    return f"smalldocs {version('smalldocs')}", [w for w in site.warnings if not EXPECTED.search(w)]


def formula(tex, display):
    "The MathML of a formula in LaTeX."
    plain = re.sub(r'\\[lr](?=Vert\b|vert\b)', r'\\', tex.replace('{aligned}', '{align*}'))  # latex2mathml misreads these three
    try: math = BeautifulSoup(convert(plain, display='block' if display else 'inline'), 'html.parser')
    except Exception as e: raise DocsError(f'the formula {tex!r} cannot be turned into MathML ({type(e).__name__}): write it more simply') from e
    unread = next((t for t in math.find_all(string=re.compile(r'^(\\.+|&)$'))), None)
    if unread: raise DocsError(f'the formula {tex!r} cannot be turned into MathML because of {str(unread)!r}: write it more simply')
    return math


def polish(soup):
    "Make a page self-contained, whichever renderer wrote it: nothing foreign loads, formulas are MathML, wide tables scroll."
    for tag in soup.find_all('script'):
        if FOREIGN.match(tag.get('src', '')) or AMD.match(tag.string or ''): tag.decompose()
    for tag in soup.find_all('link', href=FOREIGN):
        if 'canonical' not in tag.get('rel', []): tag.decompose()
    for tag in soup.find_all('style', string=CSS_FOREIGN): tag.string = CSS_FOREIGN.sub('', tag.string)
    for tag in soup.select('span.math'):
        if tag.find('math'): continue
        tex = re.sub(r'^\s*\\[\[(]|\\[\])]\s*$', '', tag.get_text()).strip()
        tag.clear()
        tag.append(formula(tex, 'display' in tag['class']))
    for tag in soup.select('main table'):
        if not tag.find_parent('table'):
            tag.wrap(soup.new_tag('div', attrs={'class': 'table-box', 'role': 'region', 'aria-label': 'Table', 'tabindex': '0'}))


def relink(soup, page, names, site_url, ids):
    "Point nbdev's links to names at this copy of the site, and the links to a page's source at the notebook under its own name."
    for tag in soup.find_all('a', href=True):
        href = tag['href']
        if source := re.fullmatch(r'(.*/(?:blob|edit)/[^/]+/nbs/(?:.*/)?)([^/]+\.ipynb)', href):
            tag['href'] = source[1] + names.get(source[2], source[2])
        if not href.startswith(site_url + '/'): continue
        target, _, name = href[len(site_url) + 1:].partition('#')
        target = target or 'index.html'
        known = [i for i in (name, name.partition('.')[0]) if i in ids.get(target, ())]  # a method is told of with its class
        if name and not known: tag.unwrap()
        else: tag['href'] = '../' * page.count('/') + target + (f'#{known[0]}' if name else '')


def sign(soup, stamp):
    "Say in the footer what rendered the page."
    footer = soup.select_one('footer.footer')
    if not footer:
        footer = soup.new_tag('footer', attrs={'class': 'footer'})
        (soup.body or soup).append(footer)
    line = soup.new_tag('p', attrs={'class': 'rendered-by'})
    line.string = stamp
    footer.append(line)


def finish(site, renderer, names):
    "Go over every page and stylesheet in folder `site`; return the number of pages."
    number = re.search(r"__version__ *= *['\"](.+?)['\"]", (ROOT/'lesson8/__init__.py').read_text(encoding='utf-8'))[1]
    today = datetime.date.today()
    stamp = f'Rendered by {renderer} from lesson8 {number} on {today.day} {today:%B %Y}'
    site_url = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['site-url'].rstrip('/')
    pages = {f.relative_to(site).as_posix(): f.read_text(encoding='utf-8') for f in sorted(site.rglob('*.html'))}
    ids = {page: set(re.findall(r'\bid="([^"]+)"', html)) for page, html in pages.items()}
    for page, html in pages.items():
        soup = BeautifulSoup(html, 'html.parser')
        try: polish(soup)
        except DocsError as e: raise DocsError(f'{page}: {e}') from e
        relink(soup, page, names, site_url, ids)
        sign(soup, stamp)
        (site/page).write_text(str(soup), encoding='utf-8')
    for f in site.rglob('*.css'):
        css = f.read_text(encoding='utf-8')
        if (clean := CSS_FOREIGN.sub('', css)) != css: f.write_text(clean, encoding='utf-8')
    return len(pages)


def build(nbs, out):
    "Render the site of the notebooks in `nbs` into folder `out`."
    if not nbs.is_dir(): raise DocsError(f'{nbs} is not a folder: give --nbs a folder of notebooks')
    if out.is_dir() and any(out.iterdir()) and not (out/'site_libs').is_dir():
        raise DocsError(f'{out} holds something that is not a rendered site and would be replaced: give --out another folder')
    start = time.time()
    with tempfile.TemporaryDirectory(prefix='lesson8-docs-') as tmp:
        gather(nbs, Path(tmp))
        print('docs: processing the notebooks', flush=True)
        pages = process(Path(tmp))
        names = name_as_pages(pages)
        print(f'docs: rendering {len(names)} notebooks ({time.time()-start:.0f} s so far)', flush=True)
        renderer, notes = render(pages)
        for note in notes: print(f'docs: {note}', flush=True)
        n = finish(pages/'_docs', renderer, names)
        if out.exists(): shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(pages/'_docs', out)
    print(f'docs: {n} pages by {renderer} in {time.time()-start:.0f} s: open {os.path.relpath(out/"index.html")}', flush=True)


def main(argv=None):
    "Run the command line; return its exit code."
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--nbs', type=Path, default=ROOT/'nbs', help='folder of executed notebooks (nbs)')
    p.add_argument('--out', type=Path, default=ROOT/'_docs', help='folder for the site, replaced (_docs)')
    args = p.parse_args(argv)
    try: build(args.nbs.resolve(), args.out.resolve())
    except DocsError as e:
        print(f'docs: {e}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__': sys.exit(main())
