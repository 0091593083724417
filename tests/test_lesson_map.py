"The page that leads from the lecture to the chapters: what its tables say is so, and the notebook is made from them."
import ast, json, re

import lesson_map
import pytest

from conftest import ROOT

NBS = ROOT/'nbs'
TEXT = {r['id']: r for r in lesson_map.table('lesson_map_text.csv')}
MAP = lesson_map.table('lesson_map.csv')
MEASURED = lesson_map.table('lesson_map_measured.csv')
HEADS = lesson_map.headings()
MINUTES = [f'T{k:03}' for k in range(1, 190)]
QUESTIONS = [f'Q{k:02}' for k in range(1, 59)]
# No chapter answers these yet. Take out what is answered; nothing may be added.
OPEN = "Q22 T037".split()


def test_page_is_made_from_its_tables():
    made = lesson_map.PAGE.read_text(encoding='utf-8') == lesson_map.notebook()
    assert made, 'run `python tools/lesson_map.py`'


def test_all_questions_and_minutes_have_a_text():
    assert sorted(TEXT) == QUESTIONS + MINUTES
    texts = [r['text'] for r in TEXT.values()]
    assert len(set(texts)) == len(texts) and all(len(t.split()) <= 20 and t[-1] in '.?' for t in texts)
    assert all(r['question'] in ('', *QUESTIONS) for r in TEXT.values())
    seconds = [int(TEXT[t]['second']) for t in MINUTES]
    assert seconds == sorted(seconds)
    assert all(int(TEXT[q]['second']) in seconds for q in QUESTIONS)


def test_what_is_open_does_not_grow():
    assert [i for i in lesson_map.unanswered() if i not in OPEN] == [], (
        'answered before, and now no heading does: mend nbs/lesson_map.csv')


def test_answers_are_headings():
    assert [r for r in MAP if r['id'] not in TEXT] == []
    dead = [(r['id'], r['page'], r['anchor']) for r in MAP
            if r['page'] not in HEADS or r['anchor'] not in HEADS[r['page']][2]]
    assert dead == [], 'nbs/lesson_map.csv leads to headings that are gone'


def test_no_heading_answers_too_much():
    "At most eight entries a heading, and no two of the first 47 questions share one."
    where = {}
    for r in MAP: where.setdefault((r['page'], r['anchor']), []).append(r['id'])
    first = lesson_map.answers()
    at = {i: targets[0] for i, targets in first.items()}
    count = {}
    for i, target in at.items(): count.setdefault(target, []).append(i)
    assert {k: v for k, v in count.items() if len(v) > 8} == {}
    asked = [at[q] for q in QUESTIONS[:47] if q in at]
    assert sorted({t for t in asked if asked.count(t) > 1}) == []


def told(page):
    "All that a notebook says: prose and what its cells print."
    path = NBS/HEADS[page][0]
    for c in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if c['cell_type'] == 'markdown': yield ''.join(c['source'])
        for o in c.get('outputs', []):
            yield ''.join(o.get('text', ''))
            for mime, data in o.get('data', {}).items():
                if mime.startswith('text/'): yield re.sub(r'<[^>]*>', ' ', ''.join(data))


NUMBER = re.compile(r'(?<![\w.])\d[\d,]*(?:\.\d+)?%?|(?<![\w.])\.\d+%?')


def numbers(text):
    "The numbers of a text: (value, how far off it may be, having been rounded)."
    for said in NUMBER.findall(text):
        digits = said.rstrip('%,').replace(',', '')
        places, scale = len(digits.partition('.')[2]), .01 if said.endswith('%') else 1
        yield float(digits)*scale, .5*10**-places*scale


def missing(text, source):
    "The numbers of `text` that no number in `source` rounds to."
    there = [value for value, _ in numbers(source)]
    return [value for value, off in numbers(text)
            if not any(abs(value - other) <= off*(1 + 1e-6) for other in there)]


@pytest.mark.parametrize('row', MEASURED, ids=lambda r: r['ids'].split()[0])
def test_numbers_are_the_chapters(row):
    "Each number that we hold against the lecture stands in the chapter that is cited, in its prose or an output."
    assert row['anchor'] in HEADS[row['page']][2], (row['page'], row['anchor'])
    assert set(row['ids'].split()) <= set(TEXT)
    words = re.sub(r'\b\dx\d\b', '', row['measured'])
    assert list(numbers(words)), 'a result has a number'
    assert missing(words, '\n'.join(told(row['page']))) == [], row['measured']


def test_numbers_are_found_as_they_are_written():
    source = 'a table 0.96880 | .8104 | 523,712 | 63% | 1.06'
    assert missing('0.9688, 96.9%, .810, 523,712, 0.63, 63% and 1.06.', source) == []
    assert missing('0.9687, 97.0%, 523,713', source) == pytest.approx([.9687, .97, 523713])


def seconds(clock):
    "What `lesson_map.clock` writes, read back."
    total = 0
    for part in clock.split(':'): total = 60*total + int(part)
    return total


# Told on the way by a chapter whose own minutes are others.
ASIDE = {'T002', 'T003', 'T068', 'T070'}


def test_chapters_name_their_minutes():
    "What a chapter answers lies in the minutes that its opening names."
    silent, outside = set(), []
    for r in MAP:
        name, number, _ = HEADS[r['page']]
        if r['id'][0] != 'T' or r['id'] in ASIDE or not re.match(r'0[1-9]|1\d', number or '-'): continue
        cells = json.loads((NBS/name).read_text(encoding='utf-8'))['cells'][:3]
        opening = ''.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
        spans = re.findall(r'\b([\d:]+:\d\d) to ([\d:]+:\d\d)', opening)
        second = int(TEXT[r['id']]['second'])
        if not spans: silent.add(name)
        elif not any(seconds(a) <= second <= seconds(b) for a, b in spans): outside.append((r['id'], name))
    assert sorted(silent) == [], 'say in the opening which minutes of the lecture it covers: from 8:02 to 12:21'
    assert outside == [], 'these minutes are not among those that the opening names'
    assert [seconds(lesson_map.clock(s)) for s in (3, 482, 3751)] == [3, 482, 3751]


def test_next_steps_names_what_is_there():
    "The study plan starts from functions that the library has and from chapters that there are."
    cells = json.loads((NBS/'next_steps.ipynb').read_text(encoding='utf-8'))['cells']
    text = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    named = re.findall(r'`lesson8\.(\w+)\.(\w+)`', text)
    assert len(named) >= 8
    for module, name in named:
        tree = ast.parse((ROOT/f'lesson8/{module}.py').read_text(encoding='utf-8'))
        public = next(ast.literal_eval(n.value) for n in tree.body
                      if isinstance(n, ast.Assign) and n.targets[0].id == '__all__')
        assert name in public, (module, name)
    weeks = re.split(r'^### Week \d: ', text, flags=re.M)[1:]
    assert [w.split()[0] for w in weeks] == ['write', 'help', 'gather', 'build']
    assert all('**Start from**' in w and '**Done when**' in w for w in weeks)
    assert set(re.findall(r'\]\((\w+\.ipynb)', text)) <= {p.name for p in NBS.glob('*.ipynb')}
