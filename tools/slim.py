"""Make a rendered site light: only the styles and icons that its pages use, and pictures as WebP files.

Both renderers ship all of Bootstrap twice, for light and for dark, and 2,000 icons: over a megabyte a page.
"""
import base64, io, logging, re
from urllib.parse import unquote, urlsplit

NAME = re.compile(r'([.#]?)(-?[A-Za-z_][\w-]*)')  # a class, an id or an element in a selector
ALWAYS = {'from', 'to', 'html', 'body', 'root'}
ICONS = re.compile(r'content:\s*"\\([0-9a-f]{4,5})"')
FACE = re.compile(r'@font-face\s*\{[^}]*bootstrap-icons[^}]*\}')


def words(text):
    "Whatever in a page or a script may be the name of an element, a class or an id."
    return set(re.findall(r'[A-Za-z_][\w-]*', text))


def rules(css):
    "Cut a stylesheet into its rules: (what stands before the brace, what stands between the braces or None)."
    start = i = 0
    head, depth = '', 0
    while i < len(css):
        c = css[i]
        if css.startswith('/*', i): i = css.find('*/', i) + 1 or len(css)
        elif c in '"\'':
            i += 1
            while i < len(css) and css[i] != c: i += 2 if css[i] == '\\' else 1
        elif c == '(' and re.match(r'\(\s*data:', css[i:i+20]): i = css.find(')', i)
        elif c == '{':
            if not depth: head, start = css[start:i], i + 1
            depth += 1
        elif c == '}':
            depth -= 1
            if not depth:
                yield head.strip(), css[start:i]
                start = i + 1
        elif c == ';' and not depth:
            yield css[start:i].strip(), None
            start = i + 1
        i += 1


def selectors(head):
    "The selectors of a rule, one by one."
    head = re.sub(r'/\*.*?\*/', '', head, flags=re.S)
    depth, start = 0, 0
    for i, c in enumerate(head):
        depth += (c in '([') - (c in ')]')
        if c == ',' and not depth:
            yield head[start:i].strip()
            start = i + 1
    yield head[start:].strip()


def matches(selector, used):
    "Whether the names in a selector are all used; what stands in brackets is taken as if it were."
    plain = selector
    while (bare := re.sub(r'\([^()]*\)|\[[^\]]*\]|::?[\w-]+|\\.', ' ', plain)) != plain: plain = bare
    return all(name in used or name in ALWAYS for _, name in NAME.findall(plain))


def prune(css, used):
    "A stylesheet without the rules for names that are not in `used`, and without comments."
    out = []
    for head, body in rules(css):
        head = re.sub(r'/\*.*?\*/', '', head, flags=re.S).strip()
        if body is None: out.append(f'{head};')
        elif re.match(r'@(media|supports|layer|container)', head):
            if inner := prune(body, used): out.append(f'{head}{{{inner}}}')
        elif head.startswith('@'): out.append(f'{head}{{{body}}}')
        elif kept := ','.join(s for s in selectors(head) if matches(s, used)): out.append(f'{kept}{{{body}}}')
    return ''.join(out)


def icons(site):
    "Keep of the icons' font in folder `site` the glyphs that its stylesheets name."
    from fontTools import subset
    logging.getLogger('fontTools').setLevel(logging.ERROR)  # it warns of two bytes that it does not need
    sheets = {f: f.read_text(encoding='utf-8') for f in site.rglob('*.css')}
    wanted = {int(code, 16) for css in sheets.values() for code in ICONS.findall(css)}
    for f, css in sheets.items():
        face = FACE.search(css)
        if not face: continue
        files = {f.parent/u.partition('?')[0] for u in re.findall(r'''url\(["']?([^"')]+)''', face[0])}
        woff = next(p for p in files if p.suffix == '.woff')  # the other needs a compressor
        if woff.is_file():
            options = subset.Options(flavor='woff', notdef_outline=True)
            font = subset.load_font(str(woff), options)
            subsetter = subset.Subsetter(options)
            subsetter.populate(unicodes=wanted)
            subsetter.subset(font)
            subset.save_font(font, str(woff), options)
        for p in files - {woff}: p.unlink(missing_ok=True)
        address = woff.relative_to(f.parent).as_posix()
        now = f'font-family:"bootstrap-icons";font-display:block;src:url("{address}") format("woff")'
        f.write_text(css.replace(face[0], f'@font-face{{{now}}}'), encoding='utf-8')


def styles(site):
    "Drop from the stylesheets in folder `site` what none of its pages and scripts can use."
    used = set()
    for f in site.rglob('*'):
        if f.suffix in ('.html', '.js'): used |= words(f.read_text(encoding='utf-8'))
    for f in site.rglob('*.css'): f.write_text(prune(f.read_text(encoding='utf-8'), used), encoding='utf-8')
    icons(site)


def pictures(soup, site, page):
    "Store the PNG pictures of a page, in it or in files, as WebP files: same pixels, a third of the size."
    from PIL import Image
    here = (site/page).parent
    for i, tag in enumerate(soup.select('main img[src]'), 1):
        src = tag['src']
        if src.startswith('data:image/png;base64,'): raw = base64.b64decode(src.partition(',')[2])
        elif src.endswith('.png') and not urlsplit(src).scheme and (here/unquote(src)).is_file():
            raw = (here/unquote(src)).read_bytes()
        else: continue
        picture = Image.open(io.BytesIO(raw))
        folder = (site/page).with_name((site/page).stem + '_files')
        folder.mkdir(exist_ok=True)
        picture.save(folder/f'picture-{i}.webp', lossless=True, quality=80, method=4)
        tag['src'] = f'{folder.name}/picture-{i}.webp'
        if not {'width', 'height'} & set(tag.attrs): tag['width'], tag['height'] = picture.size
