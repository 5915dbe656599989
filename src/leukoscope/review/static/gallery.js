// The gallery: cells in groups, at a constant scale. Only what is on the screen is in the page, so that ten thousand
// cells scroll as ten do.
import {$, make} from "./dom.js";

const GAP = 8, CAPTION = 20, HEAD = 42, EDGE = 14;

export class Gallery {
  /** groups: () => [{id, title, colour, key, cells}]; draw: (cell, tile) => fills it in; title: what a screen reader says. */
  constructor(box, canvas, {groups, draw, title, on}) {
    Object.assign(this, {box, canvas, groups, draw, title, on, size: 104, tiles: new Map(), heads: new Map()});
    this.chosen = new Set();
    this.active = null;
    this.anchor = null;
    box.addEventListener("scroll", () => this.paint(), {passive: true});
    new ResizeObserver(() => this.layout()).observe(box);
    this.layout();
  }

  /** Place every group and cell; then draw what can be seen. */
  layout() {
    const width = this.box.clientWidth - 2 * EDGE, step = this.size + GAP, high = this.size + CAPTION + GAP;
    const columns = Math.max(1, Math.floor((width + GAP) / step));
    this.placed = new Map();
    this.rows = [];
    this.flow = [];
    this.blocks = [];
    let y = 6;
    for (const group of this.groups()) {
      const top = y;
      y += HEAD;
      group.cells.forEach((cell, i) => {
        const column = i % columns;
        if (column === 0) this.rows.push({y: y + Math.floor(i / columns) * high, cells: []});
        this.rows.at(-1).cells.push(cell);
        this.placed.set(cell, {x: EDGE + column * step, y: this.rows.at(-1).y, row: this.rows.length - 1, column,
          order: this.flow.length});
        this.flow.push(cell);
      });
      y += Math.ceil(group.cells.length / columns) * high + 10;
      this.blocks.push({...group, top, bottom: y});
    }
    this.canvas.style.height = `${y + 20}px`;
    if (this.active !== null && !this.placed.has(this.active)) this.active = null;
    this.paint(true);
  }

  /** Draw the groups and cells in view. anew: those that are drawn already too. */
  paint(anew = false) {
    const from = this.box.scrollTop - 600, to = this.box.scrollTop + this.box.clientHeight + 600;
    const wanted = new Set();
    let first = 0, last = this.rows.length;
    while (first < last) { // the first row that reaches into view
      const middle = (first + last) >> 1;
      if (this.rows[middle].y + this.size + CAPTION < from) first = middle + 1; else last = middle;
    }
    for (let i = first; i < this.rows.length && this.rows[i].y < to; i++) this.rows[i].cells.forEach((c) => wanted.add(c));
    if (this.active !== null) wanted.add(this.active); // a screen reader needs it
    for (const [cell, tile] of this.tiles) {
      if (!wanted.has(cell)) { tile.remove(); this.tiles.delete(cell); }
    }
    for (const cell of wanted) this.tile(cell, anew);
    this.paintHeads(from, to);
    this.box.setAttribute("aria-activedescendant", this.active === null ? "" : `cell-${this.active}`);
  }

  tile(cell, anew) {
    let tile = this.tiles.get(cell);
    const fresh = !tile;
    if (fresh) {
      tile = make("div", {className: "tile", id: `cell-${cell}`, role: "option"});
      tile.cell = cell;
      this.tiles.set(cell, tile);
      this.canvas.append(tile);
    }
    if (fresh || anew) {
      const at = this.placed.get(cell);
      tile.style.transform = `translate(${at.x}px, ${at.y}px)`;
      tile.style.width = `${this.size}px`;
      this.draw(cell, tile, this.size);
      tile.setAttribute("aria-label", this.title(cell));
      tile.setAttribute("aria-posinset", at.order + 1);
      tile.setAttribute("aria-setsize", this.flow.length);
    }
    tile.setAttribute("aria-selected", this.chosen.has(cell));
    tile.classList.toggle("active", cell === this.active);
  }

  paintHeads(from, to) {
    const wanted = new Set(this.blocks.filter((b) => b.bottom > from && b.top < to).map((b) => b.id));
    for (const [id, head] of this.heads) if (!wanted.has(id)) { head.remove(); this.heads.delete(id); }
    for (const block of this.blocks) {
      if (!wanted.has(block.id)) continue;
      let head = this.heads.get(block.id);
      if (!head) {
        head = make("div", {className: "group", role: "presentation"}, make("span", {className: "dot"}),
          make("h3", {}), make("span", {className: "soft amount"}),
          make("button", {type: "button", className: "quiet", tabIndex: -1, textContent: "Select all"}));
        $("button", head).addEventListener("click", () => this.choose(head.cells, head.cells[0]));
        this.heads.set(block.id, head);
        this.canvas.append(head);
      }
      head.cells = block.cells;
      head.style.transform = `translateY(${block.top}px)`;
      head.dataset.group = block.id;
      $(".dot", head).style.background = block.colour;
      $("h3", head).textContent = block.title;
      $(".amount", head).textContent = block.note;
    }
  }

  /** Select cells, and report it to the page. */
  choose(cells, active = this.active, {anchor = active, quiet = false} = {}) {
    this.chosen = new Set(cells);
    this.active = active;
    this.anchor = anchor;
    this.paint();
    if (!quiet) this.on.chosen();
  }

  toggle(cell) {
    const chosen = new Set(this.chosen);
    if (!chosen.delete(cell)) chosen.add(cell);
    this.choose(chosen, cell);
  }

  /** From the anchor to a cell, in the order of the gallery. */
  extend(cell) {
    const start = this.placed.get(this.anchor ?? this.active ?? cell)?.order ?? 0, end = this.placed.get(cell).order;
    this.choose(this.flow.slice(Math.min(start, end), Math.max(start, end) + 1), cell, {anchor: this.anchor ?? cell});
    this.reveal(cell);
  }

  reveal(cell) {
    const at = this.placed.get(cell);
    if (!at) return;
    const bottom = at.y + this.size + CAPTION, seen = this.box.scrollTop;
    if (at.y < seen + 8) this.box.scrollTop = at.y - HEAD;
    else if (bottom > seen + this.box.clientHeight - 8) this.box.scrollTop = bottom - this.box.clientHeight + 16;
    this.paint();
  }

  jump(group) {
    const block = this.blocks.find((one) => one.id === group);
    if (block) this.box.scrollTop = block.top;
    return Boolean(block);
  }

  /** The cell that an arrow key leads to. */
  beside(key) {
    if (!this.flow.length) return null;
    const at = this.placed.get(this.active);
    if (!at) return this.flow[0];
    if (key === "ArrowRight") return this.flow[Math.min(at.order + 1, this.flow.length - 1)];
    if (key === "ArrowLeft") return this.flow[Math.max(at.order - 1, 0)];
    if (key === "Home") return this.flow[0];
    if (key === "End") return this.flow.at(-1);
    const page = Math.max(1, Math.floor(this.box.clientHeight / (this.size + CAPTION + GAP)) - 1);
    const by = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page}[key];
    const row = this.rows[Math.min(Math.max(at.row + by, 0), this.rows.length - 1)];
    return row.cells[Math.min(at.column, row.cells.length - 1)];
  }

  /** Cells whose pictures meet a rectangle, px of the canvas. */
  within({left, top, right, bottom}) {
    return this.flow.filter((cell) => {
      const at = this.placed.get(cell);
      return at.x < right && at.x + this.size > left && at.y < bottom && at.y + this.size > top;
    });
  }

  /** The group at a point of the window. */
  groupAt(x, y) {
    const box = this.box.getBoundingClientRect();
    if (x < box.left || x > box.right || y < box.top || y > box.bottom) return null;
    const at = y - box.top + this.box.scrollTop;
    return this.blocks.find((block) => at >= block.top && at < block.bottom)?.id ?? null;
  }
}
