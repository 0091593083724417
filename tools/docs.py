"""Render the notebooks into the site, with Quarto where it is installed and otherwise with smalldocs.

    python tools/docs.py [--nbs _run/nbs] [--out _docs]

The pages are nbs/ as it stands; a notebook that --nbs holds too (an executed copy) takes the place of the
saved one. Both renderers get the same processed notebooks, named as their pages are (02_embeddings.ipynb
becomes embeddings.html) and put by `prepare` into words that both understand; `finish` goes over what
either of them wrote: nothing foreign, formulas as MathML, pictures in files, only the styles and icons that
are used. All work happens in a temporary folder, so nothing but --out changes, and --out only when
everything went well."""
import argparse, ast, contextlib, datetime, html, io, json, os, re
import shutil, subprocess, sys, tempfile, time, tokenize
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup
from latex2mathml.converter import convert

import fold, slim

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = re.compile(r'\s*(https?:)?//', re.I)
AMD = re.compile(r"\s*(define|require|requirejs)\s*[.(]")  # what is left of require.js when its file is gone
CSS_FOREIGN = re.compile(
    r'''@import\s*(?:url\(\s*["']?(?:https?:)?//[^)]*\)|["'](?:https?:)?//[^"']*["'])[^;]*;?''', re.I)
LINK = re.compile(
    r'''(?P<start>\]\(|href=["'])(?P<folder>(?:[\w.-]+/)*)(?P<name>[\w.-]+\.ipynb)(?P<anchor>#[^)\s"']*)?''')
SOCIAL = 'social.png'
SOCIAL_ALT = 'lesson8: collaborative filtering, embeddings, tabular models and convolutions from scratch'
# Meant for Quarto alone: smalldocs needs no word on them, and says so each time.
EXPECTED = re.compile(
    r'(output-file|html-math-method|respect-user-color-scheme|format.html.grid) is (not read|ignored)')


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
    if missing:
        raise DocsError(
            f"the sidebar in _quarto.yml lists {missing[0]}, which is not in {tracked}: write it or take the "
            f"line out")


def sidebar(config):
    "The pages that `_quarto.yml` lists, in order."
    def pages(entries):
        for e in entries:
            if isinstance(e, dict): yield from pages([e.get('href', '')] + e.get('contents', []))
            elif e and '://' not in e: yield e
    return list(
        pages(yaml.safe_load(Path(config).read_text(encoding='utf-8'))['website']['sidebar']['contents']))


def process(stage):
    "Let nbdev add the API documentation and drop what readers need not see; return the folder it wrote."
    from nbdev.serve import proc_nbs
    try:
        # its workers look for the settings in the current folder
        with contextlib.chdir(ROOT): return proc_nbs(str(stage/'nbs'), force=True)
    except Exception as e:
        said = str(e).strip().splitlines() or [type(e).__name__]
        raise DocsError(
            f"nbdev cannot process the notebooks: {' '.join(dict.fromkeys([said[0].strip(' :'), said[-1]]))} "
                        '(it runs each cell that imports: keep imports in cells of their own)') from e


def signatures(folder):
    """How to write the classes of the modules in `folder`: {name: signature}.

    Python says `(*args, **kwargs)` of a NamedTuple, of a class that is made by `__new__` and of an
    exception; here stand the fields, the arguments or the base instead, with their comments. None: what
    Python says is right."""
    found = {}
    for f in sorted(Path(folder).glob('*.py')):
        source = f.read_text(encoding='utf-8')
        notes, first, last = {}, 0, 0
        for t in tokenize.generate_tokens(io.StringIO(source).readline):
            if t.type != tokenize.COMMENT: continue
            goes_on = t.line.lstrip().startswith('#') and last == t.start[0] - 1
            first, last = first if goes_on else t.start[0], t.start[0]
            notes[first] = f"{notes.get(first, '')} {t.string.lstrip('# ')}".strip()
        for c in ast.parse(source).body:
            if isinstance(c, ast.ClassDef): found[c.name] = _signature(c, notes)
    return found


def _signature(c, notes):
    "The signature of class `c`, a node of its module's syntax tree, with the comments `notes` {line: text}."
    bases = [ast.unparse(b) for b in c.bases]
    methods = {m.name: m for m in c.body if isinstance(m, ast.FunctionDef)}
    if 'NamedTuple' in bases:
        fields = [n for n in c.body if isinstance(n, ast.AnnAssign)]
        parts = [(n.target.id, n.annotation, n.value, n) for n in fields]
    elif '__init__' in methods: return None
    elif new := methods.get('__new__'):
        args = new.args.args[1:]
        defaults = [None]*(len(args) - len(new.args.defaults)) + new.args.defaults
        parts = [(a.arg, a.annotation, d, d or a) for a, d in zip(args, defaults)]
    elif any(re.search('Error|Exception|Warning', b) for b in bases):
        return f"class {c.name}({', '.join(bases)})"
    else: return None
    rows = []
    for name, kind, value, node in parts:
        kind, value = (f':{ast.unparse(kind)}' if kind else ''), (f'={ast.unparse(value)}' if value else '')
        note = notes.get(node.end_lineno)
        rows.append(f'    {name}{kind}{value},' + (f' # {note}' if note else ''))
    return '\n'.join([f'class {c.name}(', *rows, ')'])


def prepare(nb, stem, known=None):
    """Put a processed notebook, called `stem`, into words that both renderers understand; `known`: its
    `signatures`.

    Quarto joins the lines of a source that is one string, and puts documentation with execution metadata
    into a box that the table of contents does not look into."""
    widgets = nb['metadata'].get('widgets', {}).get('application/vnd.jupyter.widget-state+json', {})
    if not widgets.get('state'):  # nbdev adds an empty one, for which Quarto would load a widget manager
        nb['metadata'].pop('widgets', None)
    number_title(nb, stem)
    nb['cells'] = fold_sources(nb['cells'])
    for c in nb['cells']:
        c['metadata'].pop('execution', None)
        source = ''.join(c['source'])
        if c['cell_type'] == 'markdown': source = as_html(source)
        c['source'] = source.splitlines(True)
        if not c.get('has_sd'): continue
        for data in [o['data'] for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})]:
            data['text/markdown'] = documentation(''.join(data['text/markdown']), known or {})


def number_title(nb, stem):
    "Let the title of a numbered notebook start with its number, as the text speaks of it: chapter 02."
    number = re.match(r'\d+[a-z]?(?=_)', stem)
    front = nb['cells'][0] if nb['cells'] else {}
    if not number or front.get('cell_type') != 'raw': return
    meta = yaml.safe_load(''.join(front['source']).strip().strip('-'))
    if meta['title'].split()[0] != number[0]: meta['title'] = f"{number[0]} {meta['title']}"
    front['source'] = f'---\n{yaml.safe_dump(meta, allow_unicode=True)}---\n'


def shown(cell):
    "The name that a cell of nbdev's documents, or None."
    name = re.search(r'^show_doc\((\w+)', ''.join(cell['source']), re.M) if cell.get('has_sd') else None
    return name and name[1]


def fold_sources(cells):
    """Fold each exported cell under the signatures of what it defines, with the imports it needs on top.

    nbdev puts such a cell behind the first of its names, unfolded, and shows imports where the notebook has
    them."""
    options = re.compile(r'^#\| *(code-fold|code-summary|exports)\b.*\n', re.M)
    cells, out, imports = list(cells), [], ''
    while cells:
        c = cells.pop(0)
        if c['cell_type'] != 'code' or fold.summary(c) != 'Source':
            out.append(c)
            continue
        code = options.sub('', ''.join(c['source'])).strip()
        body = ast.parse(code).body
        if all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in body):
            imports += code + '\n'
            continue
        defined, documents = [getattr(n, 'name', '') for n in body], []
        while out and shown(out[-1]) in defined: documents.append(out.pop())
        while cells and shown(cells[0]) in defined: documents.append(cells.pop(0))
        out += sorted(documents, key=lambda d: defined.index(shown(d)))
        if out and out[-1].get('folded'):
            out[-1]['source'] += f'\n\n\n{code}'
            out[-1]['outputs'] += c['outputs']
        else:
            above = f'{imports}\n\n' if imports else ''
            source = f'#| code-fold: true\n#| code-summary: Source\n{above}{code}'
            out.append({**c, 'folded': True, 'source': source})
            imports = ''
    return out


def documentation(md, known):
    "nbdev's documentation of a name: with what a class takes, and no asterisk of a product read as emphasis."
    def signature(m):
        if m['name'] not in known: return m[0]
        better = known[m['name']] if '*args, **kwargs' in m['args'] else None
        return better or f"class {m['name']}({m['args']})"
    shown = r'(?<=^```python\n)def (?P<name>\w+)\((?P<args>.*?)\):?(?=\n```$)'
    md = re.sub(shown, signature, md.replace('__main__.', ''), count=1, flags=re.M | re.S)
    parts = re.split(r'(```.*?```|`[^`]*`|\$[^$\n]*\$)', md, flags=re.S)
    return ''.join(p if p[:1] in ('`', '$') else re.sub(r'(?<=\w)\*(?=\w)', r'\\*', p) for p in parts)


def as_html(md):
    """Markdown with what the renderers read differently as HTML: the badge (a figure with a caption to
    Quarto), code between tags (whose quotes Quarto bends) and the number of a question that unfolds (a list
    of its own to Quarto)."""
    badge = r'<p class="badge-line"><a href="\3"><img src="\2" alt="\1"></a></p>'
    md = re.sub(r'^\[!\[([^]]+)\]\(([^)\s]+)\)\]\(([^)\s]+)\)$', badge, md, flags=re.M)
    def coded(m):
        text = html.unescape(m[2])
        return m[1] + ''.join(c if c.isalnum() or c == ' ' else f'&#{ord(c)};' for c in text) + m[3]
    md = re.sub(r'(<code>)([^<]*)(</code>)', coded, md)
    return re.sub(r'(<summary>\s*\d+)\.(?=\s)', r'\1&#46;', md)


def name_as_pages(pages):
    """Rename the processed notebooks in folder `pages` to what their pages are called, links and sidebar with
    them; return {new: old}."""
    from nbdev.config import nbpath2html
    new = {f: nbpath2html(f).with_suffix('.ipynb') for f in sorted(pages.rglob('*.ipynb'))}
    twins = [f for f in new if list(new.values()).count(new[f]) > 1]
    if twins:
        raise DocsError(
            f'{twins[0].name} and {twins[1].name} would share the page {nbpath2html(twins[0]).name}: rename '
            f'one of them')
    names = {f.name: g.name for f, g in new.items()}
    def to_page(m):
        if m['name'] not in names: return m[0]
        anchor = '#' + slug(m['anchor'][1:]) if m['anchor'] else ''
        return m['start'] + m['folder'] + Path(names[m['name']]).stem + '.html' + anchor
    known = signatures(ROOT/'lesson8')
    for f, g in new.items():
        nb = json.loads(f.read_text(encoding='utf-8'))
        prepare(nb, f.stem, known)
        for c in nb['cells']:
            if c['cell_type'] == 'markdown':
                c['source'] = LINK.sub(to_page, ''.join(c['source'])).splitlines(True)
            for data in [o.get('data', {}) for o in c.get('outputs', [])]:
                for mime in {'text/markdown', 'text/html'} & set(data):
                    data[mime] = LINK.sub(to_page, ''.join(data[mime]))
        f.unlink()
        g.write_text(json.dumps(nb, ensure_ascii=False), encoding='utf-8')
    config = pages/'_quarto.yml'
    config.write_text(re.sub(r'[\w.-]+\.ipynb', lambda m: names.get(m[0], m[0]),
                             config.read_text(encoding='utf-8')), encoding='utf-8')
    return {g.name: f.name for f, g in new.items()}


def render(pages):
    "Render folder `pages` into `pages`/_docs; return the renderer's name and version, and its warnings."
    if shutil.which('quarto'):
        done = subprocess.run(['quarto', 'render'], cwd=pages, capture_output=True, text=True)
        if done.returncode: raise DocsError(f'Quarto stopped: {(done.stderr or done.stdout).strip()[-800:]}')
        number = subprocess.run(['quarto', '--version'], capture_output=True, text=True,
                                check=True).stdout.strip()
        return f'Quarto {number}', [l for l in done.stderr.splitlines() if 'WARN' in l]
    from smalldocs.config import BuildError, ConfigError
    from smalldocs.site import build
    try: site = build(pages, quiet=True)
    except (BuildError, ConfigError) as e: raise DocsError(f'smalldocs stopped: {e}') from e
    return f"smalldocs {version('smalldocs')}", [w for w in site.warnings if not EXPECTED.search(w)]


def formula(tex, display):
    "The MathML of a formula in LaTeX."
    # latex2mathml misreads these three
    plain = re.sub(r'\\[lr](?=Vert\b|vert\b)', r'\\', tex.replace('{aligned}', '{align*}'))
    try: math = BeautifulSoup(convert(plain, display='block' if display else 'inline'), 'html.parser')
    except Exception as e:
        raise DocsError(
            f'the formula {tex!r} cannot be turned into MathML ({type(e).__name__}): write it '
            f'more simply') from e
    marks = {'^': '\u0302', '~': '\u0303', '\u00af': '\u203e', '.': '\u0307'}  # as Pandoc writes them
    for accent in math.select('mover > mo:last-child'):
        accent.string = marks.get(accent.get_text(), accent.get_text())
    unread = next((t for t in math.find_all(string=re.compile(r'^(\\.+|&)$'))), None)
    if unread:
        raise DocsError(
            f'the formula {tex!r} cannot be turned into MathML because of {str(unread)!r}: write it '
            f'more simply')
    return math


def polish(soup):
    """Make a page self-contained and usable without a mouse, whichever renderer wrote it: nothing foreign
    loads, formulas are MathML, what is wide scrolls in a box of its own, and the tab key's first stop skips
    the navigation."""
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
    for tag in soup.find_all('math'):
        for note in tag.find_all('annotation'): note.decompose()  # the formula once more in LaTeX
        if tag.get('display') == 'block' and not tag.find_parent('span', class_='display'):
            tag.wrap(soup.new_tag('span', attrs={'class': 'math display'}))
    for tag in soup.select('main table'):
        if not tag.find_parent('table'):
            tag.wrap(soup.new_tag('div', attrs={'class': 'table-box', 'role': 'region', 'aria-label': 'Table',
                                                'tabindex': '0'}))
    for tag in soup.select('pre span > a[aria-hidden]:empty'):  # Quarto's numbers of lines
        del tag.parent['id']
        tag.decompose()
    main = soup.find('main')
    if main and soup.body:
        main['id'] = main.get('id', 'quarto-document-content')
        link = soup.new_tag('a', attrs={'class': 'skip-link', 'href': f"#{main['id']}"})
        link.string = 'Skip to the text'
        soup.body.insert(0, link)


def social(soup, site_url):
    "Let a link to the page be shown with the site's own picture, not with the first one of the page."
    for tag in soup.select('meta[property^="og:image"], meta[name^="twitter:"]'): tag.decompose()
    if not soup.head: return
    for attrs in [{'property': 'og:image', 'content': f'{site_url}/{SOCIAL}'},
                  {'property': 'og:image:alt', 'content': SOCIAL_ALT},
                  {'name': 'twitter:card', 'content': 'summary_large_image'}]:
        soup.head.append(soup.new_tag('meta', attrs=attrs))


def relink(soup, page, names, site_url, ids):
    """Point nbdev's links to names at this copy of the site, and the links to a page's source at the notebook
    under its own name."""
    for tag in soup.find_all('a', href=True):
        href = tag['href']
        if source := re.fullmatch(r'(.*/(?:blob|edit)/[^/]+/nbs/(?:.*/)?)([^/]+\.ipynb)', href):
            tag['href'] = source[1] + names.get(source[2], source[2])
        if not href.startswith(site_url + '/'): continue
        target, _, name = href[len(site_url) + 1:].partition('#')
        target = target or 'index.html'
        # a method is told of with its class
        known = [i for i in (name, name.partition('.')[0]) if i in ids.get(target, ())]
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


def stay_home(soup, base):
    "Let the page for what is not there find its styles, scripts and links wherever it is shown."
    for tag in soup.find_all(True):
        for key in ('href', 'src', 'content'):
            ref = tag.get(key)
            if ref is None or key == 'content' and not tag.get('name', '').endswith(':offset'): continue
            if ref.startswith(('#', '/')) or urlsplit(ref).scheme: continue
            tag[key] = base + re.sub(r'^(\./)+', '', ref)


def find_names(site, pages):
    "Give the search an entry for each heading of level three, such as a name; Quarto stops at level two."
    index = site/'search.json'
    if not index.is_file(): return
    entries = json.loads(index.read_text(encoding='utf-8'))
    there = {e['href'] for e in entries}
    first = {e['href'].partition('#')[0]: e for e in reversed(entries)}
    for page, soup in pages.items():
        for h in soup.select('main h3'):
            anchor = h.get('id') or h.get('data-anchor-id')
            href = f'{page}#{anchor}'
            if not anchor or href in there or page not in first: continue
            text = []
            for t in h.find_all_next(['h1', 'h2', 'h3', 'p', 'li', 'pre']):
                if t.name in ('h1', 'h2', 'h3'): break
                text.append(t.get_text(' ', strip=True))
            said = {'section': h.get_text(' ', strip=True), 'text': ' '.join(text)[:1500]}
            entries.append({**first[page], 'objectID': href, 'href': href, **said})
    index.write_text(json.dumps(entries, ensure_ascii=False), encoding='utf-8')


def finish(site, renderer, names):
    "Go over every page and stylesheet in folder `site`; return the number of pages."
    number = re.search(r"__version__ *= *['\"](.+?)['\"]",
                       (ROOT/'lesson8/__init__.py').read_text(encoding='utf-8'))[1]
    today = datetime.date.today()
    stamp = f'Rendered by {renderer} from lesson8 {number} on {today.day} {today:%B %Y}'
    site_url = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['site-url'].rstrip(
        '/')
    pages = {f.relative_to(site).as_posix(): BeautifulSoup(f.read_text(encoding='utf-8'), 'html.parser')
             for f in sorted(site.rglob('*.html'))}
    ids = {page: {t['id'] for t in soup.find_all(id=True)} for page, soup in pages.items()}
    for page, soup in pages.items():
        try: polish(soup)
        except DocsError as e: raise DocsError(f'{page}: {e}') from e
        relink(soup, page, names, site_url, ids)
        social(soup, site_url)
        sign(soup, stamp)
        slim.pictures(soup, site, page)
        if page == '404.html': stay_home(soup, urlsplit(site_url).path + '/')
        (site/page).write_text(str(soup), encoding='utf-8')
    find_names(site, pages)
    for f in site.rglob('*.css'):
        css = f.read_text(encoding='utf-8')
        if (clean := CSS_FOREIGN.sub('', css)) != css: f.write_text(clean, encoding='utf-8')
    slim.styles(site)
    shown = {Path(tag['src']).name for soup in pages.values() for tag in soup.select('img[src]')}
    for f in site.rglob('*_files/**/*.png'):
        if f.name not in shown: f.unlink()
    return len(pages)


def build(nbs, out):
    "Render the site of the notebooks in `nbs` into folder `out`."
    if not nbs.is_dir(): raise DocsError(f'{nbs} is not a folder: give --nbs a folder of notebooks')
    if out.is_dir() and any(out.iterdir()) and not (out/'site_libs').is_dir():
        raise DocsError(
            f'{out} holds something that is not a rendered site and would be replaced: give --out '
            f'another folder')
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
    print(
        f'docs: {n} pages by {renderer} in {time.time()-start:.0f} s: open '
        f'{os.path.relpath(out/"index.html")}', flush=True)


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
