/**
 * What comes from outside gets into the page as text only: by `textContent` or as a string that is appended.
 * The page's policy makes the browser refuse everything else.
 */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`The page has no ${type.name} "${id}"`);
  return found;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * Leaves alone what is as it should be, so that it stays selected and is not read out again.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A link that opens elsewhere; the text alone when it leads to anything but a web page.
 * @param {string} url
 * @param {string} text
 */
export function link(url, text) {
  if (!/^https?:\/\//.test(url)) return text;
  return make("a", { href: url, target: "_blank", rel: "noopener", textContent: text });
}

/**
 * A cell shows a text, or has elements of its own that are brought up to date.
 * @template Item
 * @typedef {{
 *   label: string,
 *   kind?: "state" | "long" | "minor",
 *   text?: (item: Item) => string,
 *   control?: (item: Item) => { elements: HTMLElement[], update: (item: Item) => void },
 * }} Column
 */

/**
 * A link to a job in each row, where there is one.
 * @template Item
 * @param {string} label
 * @param {(item: Item) => string | undefined} idOf
 * @returns {Column<Item>}
 */
export function jobColumn(label, idOf) {
  return {
    label,
    control() {
      const anchor = make("a");
      return {
        elements: [anchor],
        update(item) {
          const id = idOf(item);
          anchor.href = `#${id}`;
          anchor.hidden = id === undefined;
          setText(anchor, id?.slice(0, 8) ?? "");
        },
      };
    },
  };
}

/**
 * A table in the element `id`, under the heading `id-title`. A row remains the same elements for as long as its item is
 * there, so that focus, and what is being typed, survive a refresh.
 * @template Item
 * @param {string} id
 * @param {{ columns: Column<Item>[], keyOf: (item: Item) => string, nothing: string }} options
 */
export function createTable(id, { columns, keyOf, nothing }) {
  const note = make("p", { className: "note" });
  const headers = columns.map(({ label, kind = "" }) =>
    make("th", { scope: "col", className: kind, textContent: label }),
  );
  const body = make("tbody");
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...headers)), body);
  table.setAttribute("aria-labelledby", `${id}-title`);
  const frame = make("div", { className: "frame", hidden: true }, table);
  byId(id, HTMLDivElement).append(note, frame);
  /** @type {Map<string, { row: HTMLTableRowElement, update: (item: Item) => void }>} */
  const rows = new Map();

  /** @param {Item} item */
  function createRow(item) {
    const cells = columns.map((column) => createCell(column, item));
    return {
      row: make("tr", {}, ...cells.map(({ cell }) => cell)),
      /** @param {Item} now */
      update(now) {
        for (const { update } of cells) update(now);
      },
    };
  }

  /** @param {Item[]} items */
  function show(items) {
    const keys = new Set(items.map(keyOf));
    for (const [key, { row }] of rows) {
      if (keys.has(key)) continue;
      row.remove();
      rows.delete(key);
    }
    for (const [index, item] of items.entries()) {
      const entry = rows.get(keyOf(item)) ?? createRow(item);
      rows.set(keyOf(item), entry);
      entry.update(item);
      const there = body.children[index] ?? null;
      if (there !== entry.row) body.insertBefore(entry.row, there);
    }
    frame.hidden = items.length === 0;
    setText(note, items.length === 0 ? nothing : "");
  }

  return {
    show,
    /** @param {string} sentence why there is no table */
    refuse(sentence) {
      show([]);
      setText(note, sentence);
    },
  };
}

/**
 * @template Item
 * @param {Column<Item>} column
 * @param {Item} item
 */
function createCell({ kind, text, control }, item) {
  const own = control?.(item);
  const cell = make("td", { className: kind ?? "" }, ...(own?.elements ?? []));
  return {
    cell,
    /** @param {Item} now */
    update(now) {
      own?.update(now);
      if (text === undefined) return;
      const value = text(now);
      setText(cell, value);
      if (kind === "state") cell.dataset.state = value;
      if (kind === "long") cell.title = value;
    },
  };
}
