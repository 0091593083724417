"""Make nbs/lesson_map.ipynb, the page that leads from each question and minute of the lecture to its answer.

    python tools/lesson_map.py          writes it
    python tools/lesson_map.py --check  only says whether it is in step

It is made from three tables beside it, and from the headings of the notebooks:
    lesson_map.csv           id, page, anchor: which heading answers a question (Q01) or a minute (T001)
    lesson_map_text.csv      id, second, question, text: when it comes, what it belongs to, our own words
    lesson_map_measured.csv  ids, lecture, verdict, measured, page, anchor: where our results differ
"""
import csv, json, re, sys
from pathlib import Path
from urllib.parse import quote

from docs import slug
from install_cell import install_source

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
PAGE = NBS/'lesson_map.ipynb'
VIDEO = 'https://youtu.be/htiNBPxcXgo'
NOT_YET = '*not answered yet*'

OPENING = '''You remember that the lecture said something about anime fans, somewhere in the first half hour, and you'd like to know what came of it. Or you've just watched the part on pooling and wonder which chapter goes with it. This page is for both. It follows [lesson 8 of Practical Deep Learning for Coders](https://course.fast.ai/Lessons/lesson8.html) from its first second to its last, {n} entries in our own words: {nq} questions, set in bold, and {nt} minutes. Each leads to the heading that answers it.

Most of the time our results agree with the lecture. Where they don't, or not quite, the last column says so, and the first table below tells each of these {nd} stories in a line or two.

Every number in that table comes from the chapter that its link leads to, and a test compares the two.'''

MEASURED = '''## Where our results differ

What the lecture says is in our words, and shortened. What we measured holds for our data and our sizes, and the chapter behind the link says how far.'''

TABLE = '''## The whole lecture

Click on *when* or *question* to sort, or type a word to look for. The times lead to the video. A minute carries the number of the question it belongs to.'''

NOTHING = '''## Minutes that ask nothing

A break at {break_} and the goodbyes from {bye} on need no chapter. They're listed for the sake of completeness.'''

DONE = 'Nothing is left: every question and every minute leads to a heading.'
OPEN = 'No chapter answers these yet. The list may only get shorter; a test holds that.'


def table(name, nbs=NBS):
    "The rows of one of the three tables."
    with open(nbs/name, encoding='utf-8', newline='') as f: return list(csv.DictReader(f))


def clock(seconds):
    "Seconds as the video shows them: 8:02, 1:02:31."
    h, m, s = int(seconds)//3600, int(seconds)//60 % 60, int(seconds) % 60
    return f'{h}:{m:02}:{s:02}' if h else f'{m}:{s:02}'


def page_name(notebook):
    "What the tables call a notebook: its name without number and ending."
    return re.sub(r'^\d+[a-z]*_', '', notebook.stem)


def headings(nbs=NBS):
    "The headings of all notebooks: {page: (file name, number, {anchor: heading})}."
    found = {}
    for path in sorted({*nbs.glob('*.ipynb'), PAGE}):
        if path == PAGE: texts = [MEASURED, TABLE, '## Not answered yet', NOTHING]
        else:
            cells = json.loads(path.read_text(encoding='utf-8'))['cells']
            texts = [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown']
        heads = [m[1].strip() for t in texts for m in re.finditer(r'^#+ +(.+)$', t, re.M)]
        number = re.match(r'\d+[a-z]?(?=_)', path.stem)
        found[page_name(path)] = path.name, number[0] if number else '', {slug(h): h for h in heads}
    return found


def link(page, anchor, heads, text=None):
    "A link to a heading, in the form that JupyterLab follows; docs.py turns it into the site's."
    name, number, known = heads[page]
    heading = known[anchor]
    target = quote(heading.replace('`', '').replace(' ', '-'), safe='')
    words = text or f'{number} {heading}'.strip()
    return f'[{words}]({name}#{target})'


def rows_of_map(nbs=NBS):
    "The entries in the order of the lecture, a question before the minute in which it comes up."
    return sorted(table('lesson_map_text.csv', nbs), key=lambda r: (int(r['second']), r['id'][0] == 'T'))


def answers(nbs=NBS):
    "{id: [(page, anchor), ...]}"
    found = {}
    for r in table('lesson_map.csv', nbs): found.setdefault(r['id'], []).append((r['page'], r['anchor']))
    return found


def unanswered(nbs=NBS):
    "The ids that no heading answers, in the order of the lecture."
    known = answers(nbs)
    return [r['id'] for r in rows_of_map(nbs) if r['id'] not in known]


def watch(second): return f'[{clock(second)}]({VIDEO}?t={second})'


def table_of_results(heads):
    "The Markdown table of what we measured, and {id: link to its row}."
    when = {r['id']: int(r['second']) for r in table('lesson_map_text.csv')}
    results = sorted(table('lesson_map_measured.csv'), key=lambda r: when[r['ids'].split()[0]])
    lines = ['| when | the lecture says | we measured |', '|:-----|:-----------------|:---------------------------|']
    marks = {}
    for k, r in enumerate(results, 1):
        ids, where = r['ids'].split(), link(r['page'], r['anchor'], heads)
        lines.append(f"| <span id=\"result-{k}\">{watch(when[ids[0]])}</span> | {r['lecture']} "
                     f"| **{r['verdict']}.** {r['measured']} {where} |")
        for id in ids: marks.setdefault(id, []).append(f"[{r['verdict']}](#result-{k})")
    return '\n'.join(lines), marks


def table_of_all(heads, marks):
    "The Markdown table of all entries."
    known = answers()
    lines = ['| when | question | asked or said | answered in | our results |',
             '|:-----|:-----|:--------------------|:-----------------|:---------|']
    for r in rows_of_map():
        asked = r['id'][0] == 'Q'
        text, number = (f"**{r['text']}**", r['id']) if asked else (r['text'], r['question'])
        where = '<br>'.join(link(page, anchor, heads) for page, anchor in known.get(r['id'], [])) or NOT_YET
        lines.append(f"| {watch(r['second'])} | {number} | {text} | {where} | {'<br>'.join(marks.get(r['id'], []))} |")
    return '\n'.join(lines)


def list_of_open():
    "The section on what no chapter answers yet."
    text = {r['id']: r for r in rows_of_map()}
    left = unanswered()
    parts = ['## Not answered yet', OPEN if left else DONE]
    questions = [f"- **{i}** ({clock(text[i]['second'])}) {text[i]['text']}" for i in left if i[0] == 'Q']
    minutes = [f"- {clock(text[i]['second'])} {text[i]['text']}" for i in left if i[0] == 'T']
    if questions: parts += ['\n'.join(questions)]
    if minutes: parts += ['And among the minutes:', '\n'.join(minutes)]
    return '\n\n'.join(parts)


def cells():
    "The page's cells: (id, kind, source)."
    heads = headings()
    results, marks = table_of_results(heads)
    texts = table('lesson_map_text.csv')
    n = {'n': len(texts), 'nq': sum(r['id'][0] == 'Q' for r in texts), 'nd': len(table('lesson_map_measured.csv'))}
    when = {r['id']: clock(r['second']) for r in texts}
    yield '6c1b0a01', 'markdown', ('# The lecture, minute by minute\n> Its questions and its minutes, the '
                                   'heading that answers each, and where our results differ.')
    yield '6c1b0a02', 'markdown', OPENING.format(nt=n['n'] - n['nq'], **n)
    yield '00c3d516', 'code', install_source()
    yield '6c1b0a03', 'markdown', f'{MEASURED}\n\n<div class="lesson-results">\n\n{results}\n\n</div>'
    yield '6c1b0a04', 'markdown', (f'{TABLE}\n\n<div class="lesson-map">\n\n{table_of_all(heads, marks)}\n\n</div>\n\n'
                                   '<script src="lesson_map.js" defer></script>')
    yield '6c1b0a05', 'markdown', list_of_open()
    yield '6c1b0a06', 'markdown', NOTHING.format(break_=when['T065'], bye=when['T184'])


def notebook():
    "The text of the notebook, as nbdev-clean leaves it."
    made = []
    for id, kind, source in cells():
        cell = {'cell_type': kind, 'id': id, 'metadata': {}, 'source': source.splitlines(keepends=True)}
        if kind == 'code':
            cell |= {'execution_count': None, 'outputs': [], 'metadata': {'jupyter': {'source_hidden': True}}}
        made.append(dict(sorted(cell.items())))
    meta = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}
    nb = {'cells': made, 'metadata': meta, 'nbformat': 4, 'nbformat_minor': 5}
    return json.dumps(nb, indent=1, ensure_ascii=False) + '\n'


def main():
    text = notebook()
    same = PAGE.exists() and PAGE.read_text(encoding='utf-8') == text
    if '--check' in sys.argv:
        if not same: raise SystemExit('nbs/lesson_map.ipynb is not what its tables say: run tools/lesson_map.py')
        return
    PAGE.write_text(text, encoding='utf-8')
    print(f"nbs/lesson_map.ipynb {'is as it was' if same else 'remade'}; not answered yet: {len(unanswered())}")


if __name__ == '__main__': main()
