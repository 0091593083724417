// Lets the table of the lecture be sorted and searched. Without scripts it is a table in the order of the lecture.
const box = document.querySelector('.lesson-map');
if (box && box.querySelector('table')) {
  const table = box.querySelector('table'), body = table.tBodies[0], rows = [...body.rows];
  const seconds = text => text.trim().split(':').reduce((sum, part) => 60 * sum + +part, 0);
  const facts = rows.map((row, place) => {
    const [when, number, text, where, result] = [...row.cells].map(cell => cell.textContent.trim());
    return {row, place, when: seconds(when), number: number || 'Q99', asks: !!row.cells[2].querySelector('strong'),
            open: where === 'not answered yet', differs: !!result, words: `${number} ${text} ${where} ${result}`.toLowerCase()};
  });
  const orders = {
    when: (a, b) => a.place - b.place,
    question: (a, b) => a.number.localeCompare(b.number) || b.asks - a.asks || a.place - b.place,
  };

  const heads = [...table.tHead.rows[0].cells];
  heads.forEach(head => head.setAttribute('scope', 'col'));
  const sortable = heads.slice(0, 2).map(head => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent.trim();
    head.replaceChildren(button);
    button.addEventListener('click', () => sort(button.textContent, head.getAttribute('aria-sort') === 'ascending'));
    return head;
  });
  function sort(name, down) {
    const sorted = [...facts].sort(orders[name]);
    if (down) sorted.reverse();
    body.append(...sorted.map(f => f.row));
    for (const head of sortable)
      head.setAttribute('aria-sort', head.textContent === name ? (down ? 'descending' : 'ascending') : 'none');
  }

  const tools = document.createElement('form');
  tools.className = 'lesson-tools';
  tools.innerHTML = `<label>Look for <input type="search" placeholder="anime, pooling, Q17"></label>
    <label>Show <select><option value="all">everything</option><option value="asks">questions only</option>
    <option value="differs">where our results differ</option><option value="open">not answered yet</option></select></label>
    <output aria-live="polite"></output>`;
  const [search, choice, said] = ['input', 'select', 'output'].map(name => tools.querySelector(name));
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const f of facts) {
      const fits = words.every(word => f.words.includes(word)) && (choice.value === 'all' || f[choice.value]);
      f.row.hidden = !fits;
      shown += fits;
    }
    said.textContent = `${shown} of ${facts.length}`;
  }
  tools.addEventListener('submit', event => event.preventDefault());
  tools.addEventListener('input', filter);
  (table.closest('.table-box') || table).before(tools);
  sort('when', false);
  filter();
}
