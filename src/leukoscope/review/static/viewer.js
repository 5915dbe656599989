// A field with the outlines of its cells: zoom by wheel, keys or two fingers, move by dragging, choose by a click.
import {make, svg} from "./dom.js";
import {Tiles} from "./slide.js";

const MOST = 16, LENGTHS = [1000, 500, 200, 100, 50, 20, 10, 5, 2, 1], LONGEST = 140; // of the scale bar, um and px of the screen

export class Viewer {
  /** path: of the smear's API; chosen: (cell, event); look: (cell) => {colour, dashed, gone, absent}; pointed: gets (place,
   * x, y) of a click while `aim` is set. */
  constructor(box, {path, version, fields, cells, chosen, look, fail, pointed}) {
    Object.assign(this, {box, path, version, fields, cells, chosen, look, fail, pointed, place: null, known: new Map(), drawn: new Map(), fingers: new Map()});
    this.lines = svg("g");
    this.marks = svg("g", {class: "marks"});
    this.image = svg("image");
    const layer = svg("g");
    this.tiles = new Tiles(layer, path, version);
    this.svg = svg("svg", {role: "img", preserveAspectRatio: "xMidYMid meet"}, this.image, layer, this.lines, this.marks);
    this.bar = make("div", {className: "scale-bar", hidden: true});
    box.append(this.svg, this.bar);
    box.addEventListener("wheel", (event) => this.wheel(event), {passive: false});
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      box.addEventListener(kind, (event) => this[kind](event));
    }
    new ResizeObserver(() => this.thick()).observe(box);
  }

  /** Outlines of a field: number of a cell -> path. Asked for once. */
  outlines(place) {
    if (!this.known.has(place)) {
      this.known.set(place, fetch(`${this.path}/fields/${place}/outlines?v=${this.version}`).then(async (answer) => {
        const said = await answer.json();
        if (!answer.ok) throw new Error(said.error);
        return said;
      }));
    }
    return this.known.get(place).then((said) => ({...said, ...this.drawn.get(place)}));
  }

  /** Take over the outline of a cell that was drawn. */
  add(place, number, path) {
    this.drawn.set(place, {...this.drawn.get(place), [number]: path});
  }

  /** Wait for a click on a place instead of a cell; null for cells again. */
  aim(what) {
    this.aiming = what;
    this.middles = []; // of the two cells, while one is split
    this.box.classList.toggle("aiming", what !== null);
    this.marks.replaceChildren();
  }

  mark(x, y) {
    this.marks.append(svg("circle", {cx: x, cy: y, r: 5 * this.unit()}));
  }

  async show(place) {
    const field = this.fields[place];
    if (place !== this.place) {
      this.place = place;
      this.lines.replaceChildren();
      this.image.setAttribute("href", `${this.path}/fields/${place}.jpg?v=${this.version}`);
      this.image.setAttribute("width", field.width);
      this.image.setAttribute("height", field.height);
      this.svg.setAttribute("aria-label", `Field ${field.name} with its cells`);
      this.whole();
    }
    let found = {};
    try {
      found = await this.outlines(place);
    } catch (problem) {
      this.fail(problem.message);
    }
    if (place !== this.place) return;
    this.shapes = new Map();
    const shapes = [];
    for (let cell = 0; cell < this.cells.number.length; cell++) {
      const path = this.cells.field[cell] === place && found[this.cells.number[cell]];
      if (!path) continue;
      const shape = svg("g", {class: "shape"}, svg("path", {d: path, class: "halo"}), svg("path", {d: path, class: "line"}));
      shape.cell = cell;
      this.shapes.set(cell, shape);
      shapes.push(shape);
    }
    this.lines.replaceChildren(...shapes);
    this.refresh(this.marked ?? new Set());
  }

  /** Colours by type, and which cells are chosen. */
  refresh(marked) {
    this.marked = marked;
    for (const [cell, shape] of this.shapes ?? []) {
      const {colour, dashed, gone, absent} = this.look(cell);
      shape.classList.toggle("absent", absent);
      shape.lastChild.setAttribute("stroke", colour);
      shape.classList.toggle("dashed", dashed);
      shape.classList.toggle("gone", gone);
      shape.classList.toggle("chosen", marked.has(cell));
    }
  }

  whole() {
    const {width, height} = this.fields[this.place];
    this.view = {x: 0, y: 0, width, height};
    this.apply();
  }

  /** Bring a cell to the middle, enlarged. */
  centre(cell) {
    const {width, height} = this.fields[this.place], zoom = Math.max(1, Math.min(width, height) / 700);
    this.view = {width: width / zoom, height: height / zoom, x: this.cells.x[cell] - width / zoom / 2,
      y: this.cells.y[cell] - height / zoom / 2};
    this.apply();
  }

  zoom(by, x = 0.5, y = 0.5) {
    const {width, height} = this.fields[this.place], old = this.view;
    const most = this.fields[this.place].slide ? Math.max(width / 200, MOST) : MOST;
    const wide = Math.min(Math.max(old.width / by, width / most), width);
    const high = wide * height / width;
    this.view = {x: old.x + (old.width - wide) * x, y: old.y + (old.height - high) * y, width: wide, height: high};
    this.apply();
  }

  apply() {
    const {width, height} = this.fields[this.place], view = this.view;
    view.x = Math.min(Math.max(view.x, 0), width - view.width);
    view.y = Math.min(Math.max(view.y, 0), height - view.height);
    this.svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    this.tiles.show(this.fields[this.place], view, this.unit());
    this.thick();
  }

  /** px of the field for one of the screen. */
  unit() {
    return Math.max(this.view.width / (this.box.clientWidth || 1), this.view.height / (this.box.clientHeight || 1));
  }

  thick() {
    if (!this.view) return;
    const unit = this.unit(), scale = this.fields[this.place].scale;
    this.svg.style.setProperty("--px", unit);
    const length = scale && LENGTHS.find((one) => one <= LONGEST * unit * scale);
    this.bar.hidden = !length;
    this.bar.textContent = `${length} µm`;
    this.bar.style.width = `${length / (unit * scale)}px`;
  }

  wheel(event) {
    event.preventDefault();
    const box = this.svg.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY / 400), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  pointerdown(event) {
    this.fingers.set(event.pointerId, {x: event.clientX, y: event.clientY});
    this.moved = this.moved && this.fingers.size > 1;
    this.start = {x: event.clientX, y: event.clientY, target: event.target};
  }

  pointermove(event) {
    const finger = this.fingers.get(event.pointerId);
    if (!finger) return;
    const others = [...this.fingers.entries()].filter(([id]) => id !== event.pointerId).map(([, one]) => one);
    if (others.length) {
      const apart = (one) => Math.hypot(one.x - others[0].x, one.y - others[0].y);
      this.zoom(apart({x: event.clientX, y: event.clientY}) / Math.max(apart(finger), 1));
      this.moved = true;
    } else if (this.moved || Math.hypot(event.clientX - this.start.x, event.clientY - this.start.y) > 5) {
      if (!this.moved) this.box.setPointerCapture(event.pointerId);
      this.moved = true;
      this.view.x -= (event.clientX - finger.x) * this.unit();
      this.view.y -= (event.clientY - finger.y) * this.unit();
      this.apply();
    }
    this.fingers.set(event.pointerId, {x: event.clientX, y: event.clientY});
  }

  pointerup(event) {
    this.fingers.delete(event.pointerId);
    const shape = this.start?.target.closest?.(".shape");
    if (!this.moved && this.aiming && event.button === 0) {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
      const {width, height} = this.fields[this.place];
      if (at.x >= 0 && at.y >= 0 && at.x < width && at.y < height) this.pointed(this.place, at.x, at.y);
    } else if (!this.moved && shape) this.chosen(shape.cell, event);
    if (!this.fingers.size) this.moved = false;
  }

  pointercancel(event) {
    this.fingers.delete(event.pointerId);
    if (!this.fingers.size) this.moved = false;
  }
}
