// The tiles of a slide below its outlines: those that the view shows, at the level that suits it.
import {svg} from "./dom.js";

const TILE = 512, KEPT = 120;

export class Tiles {
  /** layer: the SVG group that they fill; path: of the smear's API. */
  constructor(layer, path, version) {
    Object.assign(this, {layer, path, version, tiles: new Map()});
  }

  /** view: x, y, width, height in px of the slide; unit: px of the slide for one of the screen. */
  show(field, view, unit) {
    if (!field.slide) {
      this.layer.replaceChildren();
      this.tiles.clear();
      return;
    }
    const finest = Math.ceil(Math.log2(Math.max(field.width, field.height)));
    const coarser = Math.max(0, Math.floor(Math.log2(Math.max(unit / (window.devicePixelRatio || 1), 1))));
    const level = Math.max(finest - coarser, 0), side = TILE * 2 ** (finest - level);
    const last = {x: Math.ceil(field.width / side) - 1, y: Math.ceil(field.height / side) - 1};
    for (let row = Math.max(Math.floor(view.y / side), 0); row <= Math.min(Math.floor((view.y + view.height) / side), last.y); row++) {
      for (let column = Math.max(Math.floor(view.x / side), 0); column <= Math.min(Math.floor((view.x + view.width) / side), last.x); column++) {
        this.need(field, level, column, row, side);
      }
    }
    for (const [name, tile] of this.tiles) {
      if (this.tiles.size <= KEPT) break;
      if (tile.level === level) continue;
      tile.image.remove();
      this.tiles.delete(name);
    }
  }

  need(field, level, column, row, side) {
    const name = `${level}/${column}_${row}`;
    const known = this.tiles.get(name);
    if (known) {
      this.tiles.delete(name); // the last shown are kept longest
      this.tiles.set(name, known);
      this.layer.append(known.image);
      return;
    }
    const x = column * side, y = row * side;
    const image = svg("image", {href: `${this.path}/tiles/${name}.jpg?v=${this.version}`, x, y, preserveAspectRatio: "none",
      width: Math.min(side, field.width - x), height: Math.min(side, field.height - y)});
    this.tiles.set(name, {image, level});
    this.layer.append(image);
  }
}
