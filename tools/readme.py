"""Make README.md, and the pictures in README_files/, from the saved outputs of nbs/index.ipynb.

    python tools/readme.py          write them
    python tools/readme.py --check  only say whether they are in step
"""
import posixpath, re, sys
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
PICTURES = 'README_files'
NOTE = '<!-- Made from nbs/index.ipynb by `make refresh`: change it there. -->\n\n'
DIRECTIVE = re.compile(r'^#\|\s*(.*?)\s*\n?$')


def split_directives(source):
    "The `#|` lines at the head of a cell as {name: value}, and the source without them."
    lines, said = source.splitlines(keepends=True), {}
    while lines and (m := DIRECTIVE.match(lines[0])):
        name, _, value = m[1].partition(':')
        said[name.strip()] = value.strip().strip('"\'')
        lines.pop(0)
    return said, ''.join(lines).strip('\n')


def prepare(nb):
    "Drop what is not for readers; return the cells' pictures as [(alt, caption)] in the order in which they are shown."
    cells, shown = [], []
    for cell in nb.cells:
        if cell.cell_type != 'code': cells.append(cell); continue
        said, cell.source = split_directives(cell.source)
        if {'hide', 'default_exp', 'export', 'exporti'} & set(said) or said.get('include') == 'false': continue
        if said.get('output') == 'false': cell.outputs = []
        if said.get('echo') == 'false': cell.metadata['transient'] = {'remove_source': True}
        pictures = [o for o in cell.outputs if any(k.startswith('image/') for k in o.get('data', {}))]
        shown += [(said.get('fig-alt', ''), said.get('fig-cap', ''))] * len(pictures)
        cells.append(cell)
    nb.cells = cells
    return shown


def site_address():
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']['doc_host'].rstrip('/') + cfg['DEFAULT']['doc_baseurl'].rstrip('/')


def relink(text, root=ROOT):
    "Links of a page in nbs/ as they must stand at the top: to a file of the project, or to the published site."
    def fix(m):
        target, hash, anchor = m[1].partition('#')
        path = posixpath.normpath(posixpath.join('nbs', target))
        if (root/path).exists(): return f']({path}{hash}{anchor})'
        if target.endswith('.html'): return f']({site_address()}/{target}{hash}{anchor})'
        raise ValueError(f"nbs/index.ipynb links to {target!r}, which is no file of the project and no page of the site: mend the link there")
    return re.sub(r'\]\((?![a-z]+:|#|' + PICTURES + r'/)([^)\s]+)\)', fix, text)


def render(path=ROOT/'nbs/index.ipynb'):
    "The text of README.md and its pictures {path: bytes}."
    nb = nbformat.read(path, 4)
    shown = prepare(nb)
    nb.metadata['language_info'] = {'name': 'python'}  # nbdev-clean drops it, and the fences need it
    exporter = MarkdownExporter()
    exporter.config.NbConvertBase.display_data_priority = ['text/markdown', 'image/svg+xml', 'image/png', 'text/html', 'text/plain']
    text, resources = exporter.from_notebook_node(nb)
    pictures = {}
    def name(m):
        alt, caption = shown[len(pictures)]
        new = f'{PICTURES}/figure-{len(pictures) + 1}{Path(m[1]).suffix}'
        pictures[new] = resources['outputs'][m[1]]
        return f'![{alt}]({new})' + (f'\n\n*{caption}*' if caption else '')
    text = re.sub(r'!\[\w*\]\((' + '|'.join(map(re.escape, resources['outputs'])) + r')\)', name, text) if resources['outputs'] else text
    text = re.sub(r'<style scoped>.*?</style>\n', '', relink(text), flags=re.S)  # GitHub shows it as text
    return NOTE + re.sub(r'\n{3,}', '\n\n', re.sub(r' +$', '', text, flags=re.M)).strip() + '\n', pictures


def main():
    text, pictures = render()
    readme, old = ROOT/'README.md', sorted((ROOT/PICTURES).glob('*'))
    stale = [p for p in old if p.relative_to(ROOT).as_posix() not in pictures]
    changed = stale or readme.read_text(encoding='utf-8') != text or any(
        not (ROOT/p).exists() or (ROOT/p).read_bytes() != data for p, data in pictures.items())
    if '--check' in sys.argv:
        if changed: raise SystemExit('README.md is not what nbs/index.ipynb says: run `make refresh NB=index`')
        return
    for p in stale: p.unlink()
    if pictures: (ROOT/PICTURES).mkdir(exist_ok=True)
    for p, data in pictures.items(): (ROOT/p).write_bytes(data)
    readme.write_text(text, encoding='utf-8')
    print(f"README.md {'remade' if changed else 'is as it was'}")


if __name__ == '__main__': main()
