"""Make a rendered site light: only the styles and icons that its pages use, and pictures as WebP files.

Both renderers ship all of Bootstrap twice, for light and for dark, and 2,000 icons: over a megabyte a page.
"""
import base64, io, logging, re
from urllib.parse import unquote, urlsplit

import tinycss2

WORD = re.compile(r'[A-Za-z_][\w-]*')
ALWAYS = {'from', 'to', 'html', 'body', 'root'}
GROUPS = {'media', 'supports', 'layer', 'container'}  # at-rules that hold rules
ICONS = re.compile(r'content:\s*"([^\x00-\x7f])"')  # `prune` writes "\f26e" as the character
FACE = re.compile(r'@font-face\s*\{[^}]*bootstrap-icons[^}]*\}')


def words(text):
    "Whatever in a page or a script may be the name of an element, a class or an id."
    return set(WORD.findall(text))


def selectors(prelude):
    """The selectors of a rule, each a list of tokens; a comma in brackets, as in `:is(a, b)`, is inside one
    token."""
    found = [[]]
    for token in prelude:
        if token == ',': found.append([])
        elif token.type != 'comment': found[-1].append(token)
    return found


def matches(selector, used):
    "Whether the names in a selector are all used; what stands in brackets is taken as if it were."
    named = [t.value for before, t in zip([None, *selector], selector)
             if t.type in ('ident', 'hash') and before != ':']
    return words(' '.join(named)) <= used | ALWAYS


def prune(css, used):
    "A stylesheet, as text or as the tokens in a rule, without the rules for names that are not in `used`."
    out = []
    parse = tinycss2.parse_stylesheet if isinstance(css, str) else tinycss2.parse_rule_list
    for rule in parse(css, skip_comments=True, skip_whitespace=True):
        if rule.type == 'qualified-rule':
            kept = ','.join(tinycss2.serialize(s).strip()
                            for s in selectors(rule.prelude) if matches(s, used))
            if kept: out.append(f'{kept}{{{tinycss2.serialize(rule.content)}}}')
        elif rule.type == 'at-rule' and rule.content is not None and rule.lower_at_keyword in GROUPS:
            if inner := prune(rule.content, used):
                out.append(f'@{rule.at_keyword}{tinycss2.serialize(rule.prelude).rstrip()}{{{inner}}}')
        elif rule.type == 'at-rule': out.append(rule.serialize())
    return ''.join(out)


def icons(site):
    "Keep of the icons' font in folder `site` the glyphs that its stylesheets name."
    from fontTools import subset
    logging.getLogger('fontTools').setLevel(logging.ERROR)  # it warns of two bytes that it does not need
    sheets = {f: f.read_text(encoding='utf-8') for f in site.rglob('*.css')}
    wanted = {ord(icon) for css in sheets.values() for icon in ICONS.findall(css)}
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
